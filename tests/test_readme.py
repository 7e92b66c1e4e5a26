"""What the README tells people to type, typed: make targets, commands and their options, the API's examples."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import homeside
from core.contracts import scg
from tests.programs import RelayProgram, token

PASSWORD = "a long enough password 7"
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def _blocks(repo_root: Path, language: str) -> list[str]:
    text = (repo_root / "README.md").read_text()
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def _lines(repo_root: Path, first: str) -> list[str]:
    lines = [line.split(" # ")[0].strip() for block in _blocks(repo_root, "sh") for line in block.splitlines()]
    return [line for line in lines if line.split(" ")[0] == first]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProgram]:
    program = RelayProgram(tmp_path_factory.mktemp("readme"))
    yield program
    assert program.stop() == 0


def test_make_targets_exist(repo_root: Path) -> None:
    lines = _lines(repo_root, "make")
    assert {"make demo", "make test"} <= set(lines)
    for line in lines:
        done = subprocess.run(
            [*shlex.split(line), "--dry-run"], cwd=repo_root, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"


def test_commands_and_their_options_exist(repo_root: Path) -> None:
    lines = _lines(repo_root, "homeside")
    assert len(lines) >= 4
    for line in lines:
        _, program, *words = shlex.split(line)
        command = homeside.load(program)
        command.make_context(program, words)


def test_every_example_of_the_apis_works(repo_root: Path, relay: RelayProgram) -> None:
    lines = _lines(repo_root, "curl")
    assert len(lines) >= 7
    words = ["users", "add", "admin@example.org", "--role", "admin", "--data", str(relay.data)]
    command = [sys.executable, "-m", "homeside", *words]
    added = subprocess.run(command, cwd=repo_root, input=f"{PASSWORD}\n", capture_output=True, text=True, check=False)
    assert added.returncode == 0, added.stderr
    stands_for = {
        "http://127.0.0.1:8000": relay.http,
        "http://127.0.0.1:3000": relay.care,
        "http://127.0.0.1:8002": relay.translate,
        "SESSION": httpx.post(f"{relay.http}/api/v1/sessions").json()["sessionId"],
        "TOKEN": token(relay.data, "--role", "admin"),
        "PASSWORD": PASSWORD,
    }
    for line in lines:
        for word, meant in stands_for.items():
            line = line.replace(word, meant)
        answer = _curl(shlex.split(line)[1:])
        assert answer.status_code in (200, 201), f"{line}: {answer.text}"


def _curl(words: list[str]) -> httpx.Response:
    """What curl would do, with the few options the README uses."""
    found = argparse.ArgumentParser()
    found.add_argument("-X", default="GET")
    found.add_argument("-H", action="append", default=[])
    found.add_argument("--json")
    found.add_argument("url")
    asked = found.parse_args(words)
    headers = dict(header.split(": ", 1) for header in asked.H)
    if asked.json:
        headers["Content-Type"] = "application/json"
    return httpx.request(asked.X, asked.url, headers=headers, content=asked.json)


def test_every_example_message_is_one(repo_root: Path) -> None:
    for block in _blocks(repo_root, "json"):
        envelope = scg.decode_envelope(json.dumps(json.loads(block)))
        assert len(scg.columns(scg.decode_payload(envelope.payload, scg.SamplesBatch))) > 0


def test_every_link_leads_somewhere(repo_root: Path) -> None:
    text = (repo_root / "README.md").read_text()
    targets = [t for t in re.findall(r"\]\(([^)#]+)", text) if "://" not in t]
    assert targets
    assert [t for t in targets if not (repo_root / t).exists()] == []
