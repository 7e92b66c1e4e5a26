"""The documents made from the code are those the code would make."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import homeside
from tests import made_docs

EXAMPLE = re.compile(r"Example: +(homeside .*?)(?=   |\n\n|\n```)", re.DOTALL)
FOLDERS = ("/media/bootfs", "build/wheels")


@pytest.mark.parametrize("name", made_docs.PAGES)
def test_the_document_is_what_the_code_says(name: str, repo_root: Path) -> None:
    committed = (repo_root / "docs" / name).read_text()
    assert committed == made_docs.PAGES[name](), f"docs/{name} is old; run: python -m tests.made_docs"


def test_every_setting_is_described() -> None:
    rows = [line for line in made_docs.settings_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 30
    assert not [row for row in rows if row.endswith("|  |")]


def test_every_example_of_the_help_is_a_whole_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each names a command that exists, options it has, and all that it requires; files it names are made for it."""
    monkeypatch.chdir(tmp_path)
    examples = EXAMPLE.findall(made_docs.commands_page())
    assert len(examples) > 40
    for example in examples:
        words = shlex.split(example.replace("\n ", " ").partition(" >")[0])[1:]
        command: Any = homeside.load(words[0])
        while words[1:] and words[1] in getattr(command, "commands", {}):
            command, words = command.commands[words[1]], words[1:]
        command.make_context(words[0], [_there(word) for word in words[1:]])


def test_each_table_of_benchmarks_is_introduced_by_its_modules_first_paragraph(repo_root: Path) -> None:
    page = (repo_root / "docs" / "benchmarks.md").read_text("utf-8")
    names = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    assert len(names) > 10
    for name in names:
        module = ast.parse((repo_root / "tests" / "bench" / f"bench_{name}.py").read_text("utf-8"))
        said = (ast.get_docstring(module, clean=False) or "").strip().split("\n\n")[0]
        assert f"## {name}\n\n{said}\n\n" in page, name


def _there(word: str) -> str:
    """The word; one that may be a file or a folder is there, in the working folder."""
    if "://" in word or word.startswith("-"):
        return word
    path = Path(word.lstrip("/"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(exist_ok=True) if word in FOLDERS else path.touch()
    return str(path)
