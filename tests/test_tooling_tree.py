"""What may not be in the tree: a package server's address, a path of somebody's machine, a pin without its hash."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.laws.house import tracked

LOCKS = ("locks/demo.txt", "locks/dev.txt", "locks/node.txt", "locks/runtime.txt")
SETTINGS = ("pyproject.toml", "package.json", "package-lock.json", ".npmrc", "Makefile", ".ci/run", *LOCKS)
DATA_FOLDER = ".ci/run"  # the one file that may name where the recorded data lies

# Written so that this file does not name what it looks for.
HOST = re.compile(r"\b(?:pypi|pythonhosted|npmjs|yarnpkg|jsdelivr|unpkg|conda|debian|crates)\.(?:org|com|io|net)\b")
ADDRESS = re.compile(r"\bhttps?://|--?(?:extra-)?index[-_]url|\bregistry\s*=")
MACHINE = re.compile(r"(?<![\w./$}~-])/(?:wor[k]|roo[t]|hom[e]/\w+|User[s]/\w+|tm[p]/\w+|opt/(?:pypi|wheel))")
SHARED = re.compile(r"\bshare[d]/(?:data|design|contracts|research)")
BORROWED = re.compile(r"^(?:from|import) tests\.(?:\w+\.)*test_")
PIN = re.compile(r"^[a-z0-9][a-z0-9._-]*(?:\[[a-z,]+\])?==\S+(?: ; [^\\]+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")

PLANTED = {
    "host": (HOST, "see pypi" + ".org for it"),
    "address": (ADDRESS, "--index-" + "url somewhere"),
    "machine": (MACHINE, "open('/wor" + "k/main/a.py')"),
    "home": (MACHINE, "cd /hom" + "e/anna/homeside"),
    "borrowed": (BORROWED, "from tests.agent.test_agent" + "_uplink import Kit"),
    "shared": (SHARED, "../share" + "d/data/scg"),
}


def lines_of(root: Path, *names: str) -> Iterator[tuple[str, int, str]]:
    """Every line of the tracked text files, or of the named ones."""
    paths = [root / name for name in names] or tracked(root)
    for path in paths:
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            yield path.relative_to(root).as_posix(), number, line


def found(pattern: re.Pattern[str], lines: Iterator[tuple[str, int, str]]) -> list[str]:
    return [f"{where}:{number}: {line.strip()[:100]}" for where, number, line in lines if pattern.search(line)]


@pytest.mark.parametrize(("pattern", "text"), PLANTED.values(), ids=PLANTED)
def test_what_is_forbidden_would_be_found(pattern: re.Pattern[str], text: str) -> None:
    assert found(pattern, iter([("planted", 1, text)]))


def test_no_tracked_file_names_a_package_server(repo_root: Path) -> None:
    assert found(HOST, lines_of(repo_root)) == []


def test_what_tests_share_is_no_test_itself(repo_root: Path) -> None:
    assert found(BORROWED, lines_of(repo_root)) == []


def test_locks_and_settings_name_no_address(repo_root: Path) -> None:
    assert found(ADDRESS, lines_of(repo_root, *SETTINGS)) == []


def test_no_tracked_file_names_a_path_of_a_machine(repo_root: Path) -> None:
    assert found(MACHINE, lines_of(repo_root)) == []


def test_only_ci_knows_where_the_data_lies(repo_root: Path) -> None:
    assert {line.split(":")[0] for line in found(SHARED, lines_of(repo_root))} <= {DATA_FOLDER}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_nothing_else_is_in_the_lock(repo_root: Path, lock: str) -> None:
    lines = (repo_root / lock).read_text("utf-8").splitlines()
    assert lines
    for number, line in enumerate(lines):
        if PIN.match(line):
            assert HASH.match(lines[number + 1]), f"{lock}:{number + 1}: a pin without a hash"
        else:
            assert HASH.match(line), f"{lock}:{number + 1}: neither a pin nor a hash: {line}"


def test_the_developers_lock_pins_what_the_runtime_lock_pins(repo_root: Path) -> None:
    runtime, dev = (
        {line for line in (repo_root / lock).read_text("utf-8").splitlines() if PIN.match(line)}
        for lock in ("locks/runtime.txt", "locks/dev.txt")
    )
    assert runtime
    assert runtime <= dev


def test_npms_lock_has_a_hash_and_no_address_for_each_package(repo_root: Path) -> None:
    lock = json.loads((repo_root / "package-lock.json").read_text("utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert set(packages) >= {"node_modules/uplot", "node_modules/axe-core"}
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not [name for name, package in packages.items() if "resolved" in package]


def test_migrations_are_one_chain(repo_root: Path) -> None:
    """Two branches that each added one would stop every relay at its start."""
    texts = [path.read_text("utf-8") for path in (repo_root / "relay/db/migrations/versions").glob("*.py")]
    own = [name for text in texts for name in re.findall(r'^revision = "(\w+)"', text, re.MULTILINE)]
    below = [name for text in texts for name in re.findall(r'^down_revision = "(\w+)"', text, re.MULTILINE)]
    assert len(own) == len(set(own)) == len(texts)
    assert len(below) == len(set(below)) == len(texts) - 1
    assert len(set(own) - set(below)) == 1
