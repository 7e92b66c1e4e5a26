"""The agent killed at random moments, over and over: nothing the relay acknowledged or the disk held is lost.

The agents are forked from a process that has imported the program already, so that fifty lives fit into a test; each
runs the real command on a real recording, against a real broker, and dies of SIGKILL.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.agent.peers import Recorder
from tests.peers import Mosquitto, as_json
from tests.waiting import until

MakeRecorder = Callable[..., Recorder]
STAGES = ("broker_connected", "broker_connected", "agent_started", "broker_connected", "")
"""After what a life is killed, in turns; the last while it is still starting."""


def live(arguments: list[str], log: str) -> None:
    """One life of `homeside agent`, in a forked process."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, b"\n")  # the life before may have been killed within a line
    os.dup2(descriptor, 2)
    sys.argv = ["homeside agent", *arguments]
    from agent.__main__ import agent_app

    agent_app()


def on_disk(path: Path, scratch: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """What the outbox's files hold, read with nothing of ours: SQLite, zlib, JSON."""
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        target = scratch.with_name(scratch.name + suffix)
        target.unlink(missing_ok=True)
        if source.exists():
            target.write_bytes(source.read_bytes())
    found = {}
    with closing(sqlite3.connect(scratch)) as db:
        for unacked, body in db.execute("SELECT unacked, body FROM block"):
            left = {seq for first, last in json.loads(unacked) for seq in range(first, last + 1)}
            for line in zlib.decompress(body).split(b"\n"):
                message = json.loads(line)
                if message["seq"] in left:
                    found[message["session"], message["boot"], message["seq"]] = message
    return found


class Lives:
    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self.folder = folder
        self.outbox = folder / "state" / "outbox.db"
        recording = folder / "recording.csv"
        rows = "".join(f"{n * 10_000_000},{n % 97},0.5,9.8\n" for n in range(60_000))
        recording.write_text("time,x,y,z\n" + rows)
        self.arguments = [
            *("--replay", str(recording), "--broker", broker.url, "--kit", "bed-7"),
            *("--state", str(folder / "state")),
        ]
        self.log = folder / "log"
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["agent.__main__"])
        self._begun: list[multiprocessing.process.BaseProcess] = []

    def begin(self) -> multiprocessing.process.BaseProcess:
        process = self._context.Process(target=live, args=(self.arguments, str(self.log)), daemon=True)
        process.start()
        self._begun.append(process)
        return process

    def end(self) -> None:
        for process in self._begun:
            process.kill()
            process.join()

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        entries = [entry for line in lines if line.startswith("{") and (entry := as_json(line))]
        return [entry for entry in entries if entry["event"] == name]


@pytest.fixture
def agent(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Lives]:
    lives = Lives(tmp_path, mosquitto)
    yield lives
    lives.end()


def kill(process: multiprocessing.process.BaseProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()


@pytest.mark.parametrize("lives", [50, pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_killed_at_random_moments(
    agent: Lives, mosquitto: Mosquitto, recorder: MakeRecorder, tmp_path: Path, lives: int
) -> None:
    rng = random.Random(lives)
    relay = recorder(mosquitto.url)
    owed: dict[tuple[str, str, int], dict[str, Any]] = {}
    for life in range(lives):
        relay.acks = rng.random() < 0.6
        stage = STAGES[life % len(STAGES)]
        reached = len(agent.events(stage)) if stage else 0
        process = agent.begin()
        if stage:
            until(lambda stage=stage, reached=reached: len(agent.events(stage)) > reached)
        time.sleep(rng.uniform(0.0, 0.25))  # the random moment itself
        kill(process)
        if agent.outbox.exists():
            owed.update(on_disk(agent.outbox, tmp_path / "copy.db"))
        if life % 10 == 9:
            mosquitto.kill()
            mosquitto.start()
            until(relay.ready.is_set)
    relay.acks = True
    before = len(agent.events("broker_connected"))
    last = agent.begin()
    until(lambda: len(agent.events("broker_connected")) > before)
    sessions = agent.events("session_started")
    assert len({entry["session"] for entry in sessions}) == 1, "one session through all of it"
    until(lambda: set(owed) <= set(relay.messages), "all that was on disk is delivered")
    assert last.pid is not None
    os.kill(last.pid, signal.SIGTERM)
    last.join(10)
    assert last.exitcode == 0

    assert all(relay.messages[key] == body for key, body in owed.items()), "and as it was written"
    assert relay.acked <= set(relay.messages)
    assert on_disk(agent.outbox, tmp_path / "copy.db") == {}, "nothing acknowledged is left over"
    assert len({key[1] for key in relay.messages}) > lives / 4, "many lives came to say something"
    assert not agent.events("outbox_damaged")
    assert not agent.events("duty_failed")


def test_what_is_a_second_old_survives_though_nobody_took_it(agent: Lives, tmp_path: Path) -> None:
    """No relay at all: a kill may cost the last second and the tenth being gathered, and no more."""
    process = agent.begin()
    until(lambda: agent.events("broker_connected"))
    time.sleep(1.8)
    died_ms = time.time() * 1000
    kill(process)
    kept = on_disk(agent.outbox, tmp_path / "copy.db")
    newest = max(s["t"] for body in kept.values() for s in body["payload"].get("samples", []))
    assert died_ms - newest < 1400, "1 s, a tenth of a second of batch, and the commit itself"
    seqs = sorted(seq for _, _, seq in kept)
    assert seqs == list(range(1, len(seqs) + 1)), "a prefix, without holes"
