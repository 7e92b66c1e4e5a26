"""What the README tells people to type, typed: make targets, commands and their options, the API's examples."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import homeside
from core.contracts import scg
from tests.programs import RelayProgram

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


def test_every_example_of_the_api_works(repo_root: Path, relay: RelayProgram) -> None:
    lines = _lines(repo_root, "curl")
    assert len(lines) >= 3
    session = httpx.post(f"{relay.http}/api/v1/sessions").json()["sessionId"]
    for line in lines:
        words = shlex.split(line.replace("http://127.0.0.1:8000", relay.http).replace("SESSION", session))
        method = words[words.index("-X") + 1] if "-X" in words else "GET"
        answer = httpx.request(method, next(word for word in words if word.startswith("http")))
        assert answer.status_code == 200, f"{line}: {answer.text}"


def test_every_example_message_is_one(repo_root: Path) -> None:
    for block in _blocks(repo_root, "json"):
        envelope = scg.decode_envelope(json.dumps(json.loads(block)))
        assert len(scg.columns(scg.decode_payload(envelope.payload, scg.SamplesBatch))) > 0


def test_every_link_leads_somewhere(repo_root: Path) -> None:
    text = (repo_root / "README.md").read_text()
    targets = [t for t in re.findall(r"\]\(([^)#]+)", text) if "://" not in t]
    assert targets
    assert [t for t in targets if not (repo_root / t).exists()] == []
