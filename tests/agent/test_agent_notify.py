"""Signs of life and log entries, as systemd would get them: over real datagram sockets."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.process.notify import Watchdog, notify
from core.contracts.service import journal_entry, manager_of
from tests.peers import Child, ended_afterwards, free_port, start_homeside
from tests.waiting import until


class Manager:
    """Where a service manager would listen."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.line.bind(str(path))
        self.line.settimeout(30)

    def said(self) -> str:
        return self.line.recv(65536).decode()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(tmp_path / "notify")
    yield found
    found.line.close()


def test_what_the_environment_says() -> None:
    whole = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}
    assert manager_of(whole, 7) == ("/run/n", 60.0)
    assert manager_of(whole, 8) == ("/run/n", None)
    assert manager_of({}, 7) == (None, None)
    assert manager_of({"WATCHDOG_USEC": "soon"}, 7) == (None, None)


def test_an_abstract_socket_and_one_that_is_gone(tmp_path: Path) -> None:
    name = f"homeside-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind("\0" + name)
        notify("@" + name, b"READY=1")
        assert line.recv(100) == b"READY=1"
    notify(str(tmp_path / "nobody"), b"READY=1")
    notify(None, b"READY=1")


def test_progress_is_samples_or_a_reason_why_there_are_none() -> None:
    samples, problem = [0], [None]
    watchdog = Watchdog("x", 60.0, lambda: samples[0], lambda: problem[0])
    assert watchdog.works()
    assert not watchdog.works(), "a loop that merely turns"
    samples[0] = 100
    assert watchdog.works()
    assert not watchdog.works()
    problem[0] = "unplugged"  # type: ignore[call-overload]
    assert watchdog.works()
    assert watchdog.works()


def kit(folder: Path, manager: Manager, children: list[Child], sensor: Path) -> Child:
    env = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "1000000"}
    words = ("--serial", sensor, "--broker", f"mqtt://127.0.0.1:{free_port()}", "--state", folder / "kit")
    children.append(start_homeside("agent", *words, env=env))
    return children[-1]


def drain(manager: Manager) -> None:
    """What was said before it was stopped."""
    for _ in range(20):
        manager.said()


def test_an_agent_lives_as_long_as_samples_come(tmp_path: Path, manager: Manager) -> None:
    """Ready, then signs of life while it measures; none while it hangs."""
    with ended_afterwards() as children:
        port = tmp_path / "sensor"
        sensor = start_homeside("simulate", "--link", port)
        children.append(sensor)
        sensor.wait_until(port.exists, "its port")
        agent = kit(tmp_path, manager, children, port)
        assert manager.said() == "READY=1"
        for _ in range(4):
            assert manager.said() == "WATCHDOG=1"
        agent.process.send_signal(19)  # SIGSTOP: it hangs
        manager.line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            drain(manager)
        agent.process.send_signal(18)
        manager.line.settimeout(30)
        assert until(lambda: manager.said() == "WATCHDOG=1")
        agent.process.terminate()
        assert until(lambda: manager.said() == "STOPPING=1")


def test_a_relay_says_when_it_is_ready_and_that_it_lives(tmp_path: Path, manager: Manager) -> None:
    with ended_afterwards() as children:
        env = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "1000000"}
        words = ("--data", tmp_path / "relay", "--port", "0", "--mqtt-port", "0", "--care-port", "0")
        relay = start_homeside("relay", *words, env=env)
        children.append(relay)
        said = [manager.said() for _ in range(4)]
        assert set(said) == {"READY=1", "WATCHDOG=1"}
        assert said.count("READY=1") == 1
        relay.process.terminate()
        assert until(lambda: manager.said() == "STOPPING=1")


def fields(entry: bytes) -> dict[str, str]:
    """The journal's own reading of an entry."""
    found, at = {}, 0
    while at < len(entry):
        end = entry.index(b"\n", at)
        line = entry[at:end]
        if b"=" in line:
            key, value = line.split(b"=", 1)
            at = end + 1
        else:
            (length,) = struct.unpack("<Q", entry[end + 1 : end + 9])
            key, value = line, entry[end + 9 : end + 9 + length]
            at = end + 10 + length
        found[key.decode()] = value.decode()
    return found


def test_an_event_is_an_entry_with_fields() -> None:
    event = {"event": "broker_lost", "level": "warning", "reason": "a=b\nc", "retry-s": 2, "timestamp": "x"}
    assert fields(journal_entry(event, "homeside-agent")) == {
        "MESSAGE": "broker_lost reason=a=b\nc retry-s=2",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "homeside-agent",
        "HOMESIDE_EVENT": "broker_lost",
        "HOMESIDE_REASON": "a=b\nc",
        "HOMESIDE_RETRY_S": "2",
    }


def test_events_go_to_the_journal_where_standard_error_does(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "journal"))
        journal.settimeout(20)
        code = (
            "import sys, structlog\nfrom agent.process.logs import configure\n"
            "configure('info', sys.argv[1])\nstructlog.get_logger('x').info('agent_started', kit='home-1')\n"
        )
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "journal")], check=True, cwd=Path(__file__).parents[2]
        )
        found = fields(journal.recv(65536))
    assert (found["HOMESIDE_EVENT"], found["HOMESIDE_KIT"], found["PRIORITY"]) == ("agent_started", "home-1", "6")
