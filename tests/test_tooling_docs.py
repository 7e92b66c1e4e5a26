"""Documents name only what exists: targets of the Makefile, commands, options, settings files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import homeside

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/decisions.md")
TARGET = re.compile(r"^([a-z]+):", re.MULTILINE)
MADE = re.compile(r"`(?:[A-Z]+=\S+ )*make ([a-z]+)\b|^ {0,4}(?:\$ )?make ([a-z]+)\b", re.MULTILINE)
COMMANDED = re.compile(r"(?:`|^ {0,4}(?:\$ )?)homeside ([a-z]+)\b", re.MULTILINE)
LINKED = re.compile(r"\]\((?!\w+:|#)([^)#]+)")


def test_the_makefiles_help_names_every_target(repo_root: Path) -> None:
    text = (repo_root / "Makefile").read_text("utf-8")
    promised = {"install", "demo", "test", "check", "bench", "soak", "lock", "wheel", "clean", "help"}
    assert promised <= set(TARGET.findall(text))
    shown = subprocess.run(["make", "help"], cwd=repo_root, capture_output=True, text=True, check=True).stdout
    assert promised <= set(re.findall(r"^  make ([a-z]+) +\S", shown, re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_only_what_exists(repo_root: Path, document: str) -> None:
    text = (repo_root / document).read_text("utf-8")
    targets = set(TARGET.findall((repo_root / "Makefile").read_text("utf-8")))
    assert {first or second for first, second in MADE.findall(text)} <= targets
    assert set(COMMANDED.findall(text)) <= set(homeside.PROGRAMS)
    linked = [(repo_root / document).parent / name for name in LINKED.findall(text)]
    assert [path for path in linked if not path.exists()] == []


def test_the_patterns_see_what_they_are_for() -> None:
    text = "Run `make test` or\n\n    make demo\n\nand `homeside relay`; see [how](docs/a.md) and [web](https://x.example)."
    assert MADE.findall(text) == [("test", ""), ("", "demo")]
    assert COMMANDED.findall(text) == ["relay"]
    assert LINKED.findall(text) == ["docs/a.md"]
