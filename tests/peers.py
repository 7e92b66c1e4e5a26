"""The real programs that tests talk to: our own, started as a user would start them, and mosquitto.

Each is a child process on an unused loopback port and is stopped by its process id. Nothing here sleeps: every wait is
for a condition, with a deadline, and a wait that fails shows the program's last lines.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.waiting import PATIENCE_S

REPO_ROOT = Path(__file__).resolve().parent.parent
T = TypeVar("T")
KEPT_LINES = 20_000
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def _ports() -> Iterator[int]:
    """Ports below the range of outgoing connections (from 32768), different for every parallel test process."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw3").removeprefix("gw")) % 4
    first, count = 20_000 + 3_000 * worker, 3_000
    start = random.SystemRandom().randrange(count)
    return (first + (start + step) % count for step in itertools.count())


_untaken = _ports()


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on and that has not been given to this process recently."""
    for port in _untaken:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports never end")


def listens(port: int) -> bool:
    """Whether somebody accepts connections on 127.0.0.1:`port`."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers_mqtt(port: int) -> bool:
    """Whether a broker on `port` answers a CONNECT, even with a refusal.

    A listening socket is not enough: mosquitto listens before it handles SIGTERM.
    """
    connect, disconnect = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x05\x00\x00", b"\xe0\x00"
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0) as probe:
        probe.sendall(connect)
        probe.recv(4)
        probe.sendall(disconnect)
        return True
    return False


def find_peer(name: str, package: str) -> str:
    """Path of a Debian program; if it is not installed, the test is skipped and the package named."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"]))
    if found is None:
        pytest.skip(f"{name} is not installed (Debian package: {package})")
    return found


HEARD_OUT_S = 5.0
"""How long to wait for the last output of a process that has ended; its own children may keep the pipe open longer."""


class Child:
    """A child process whose output is collected line by line.

    stdout and stderr are one stream, as in a journal. `lines` keeps the last KEPT_LINES lines.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path = REPO_ROOT,
        env: Mapping[str, str] | None = None,
        **identity: Any,
    ) -> None:
        self.name = " ".join(Path(word).name for word in command[:4])
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=None if env is None else {**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            **identity,
        )
        self._reader = threading.Thread(target=self._collect, name=f"reads {self.name}", daemon=True)
        self._reader.start()

    def _collect(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.poll()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def tail(self, count: int = 25) -> str:
        """The last lines of output, for a failure's message."""
        with self._news:
            return "\n".join(list(self.lines)[-count:]) or "(it wrote nothing)"

    def wait_until(self, condition: Callable[[], T | None], what: str, within: float = PATIENCE_S) -> T:
        """The first true value of `condition`; fails at the deadline, or when the child has ended."""
        deadline = time.monotonic() + within
        while True:
            if found := condition():
                return found
            if not self.running:
                self._reader.join(HEARD_OUT_S)
                if found := condition():
                    return found
                pytest.fail(f"{self.name} ended with {self.returncode} before {what}:\n{self.tail()}")
            if time.monotonic() > deadline:
                pytest.fail(f"{self.name}: no {what} within {within:g} s:\n{self.tail()}")
            with self._news:
                self._news.wait(0.02)

    def wait_for_line(self, pattern: str, within: float = PATIENCE_S) -> re.Match[str]:
        """The first line, past or future, that matches the pattern."""
        return self.wait_until(lambda: self._first_match(re.compile(pattern)), f"line matching {pattern!r}", within)

    def _first_match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        with self._news:
            return next((found for line in self.lines if (found := pattern.search(line))), None)

    def entries(self) -> list[dict[str, Any]]:
        """All JSON log lines so far."""
        with self._news:
            lines = [line for line in self.lines if line.startswith("{")]
        return [entry for line in lines if (entry := as_json(line))]

    def events(self, name: str) -> list[dict[str, Any]]:
        """All JSON log lines so far with this event name."""
        return [entry for entry in self.entries() if entry.get("event") == name]

    def wait_for_event(self, name: str, within: float = PATIENCE_S, count: int = 1) -> dict[str, Any]:
        """The `count`-th JSON log line with this event name, past or future."""
        found = self.wait_until(
            lambda: events if len(events := self.events(name)) >= count else None, f"event {name!r}", within
        )
        return dict(found[count - 1])

    def end(self, within: float = PATIENCE_S) -> int:
        """Send SIGTERM and return the exit code; a program that does not end in time is killed and fails the test."""
        self.process.terminate()
        try:
            return self.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"{self.name} had not ended {within:g} s after SIGTERM:\n{self.tail()}")

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.wait(PATIENCE_S)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, within: float) -> int:
        code = self.process.wait(within)
        self._reader.join(within)
        return code


def as_json(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def start_homeside(*words: str | Path, env: Mapping[str, str] | None = None) -> Child:
    """Start `homeside WORDS` from this source tree, whatever the current folder is."""
    path = os.pathsep.join(filter(None, [str(REPO_ROOT), os.environ.get("PYTHONPATH", "")]))
    settings = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(env or {})}
    return Child([sys.executable, "-m", "homeside", *words], env=settings)


class Mosquitto:
    """A real mosquitto on an unused port, with persistence; it can be stopped, killed and started again."""

    def __init__(self, folder: Path, settings: Sequence[str] = ()) -> None:
        self.folder = folder
        self.settings = tuple(settings)
        self.port = free_port()
        self.child: Child | None = None
        self._program = find_peer("mosquitto", "mosquitto")

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; returns once it answers."""
        if self.child is not None and self.child.running:
            return
        self.child = Child([self._program, "-c", self._write_configuration()], cwd=self.folder)
        self.child.wait_until(lambda: answers_mqtt(self.port), f"answer on port {self.port}")

    def _write_configuration(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [
            "log_dest stderr",
            "persistence true",
            "autosave_interval 1",
            f"persistence_location {self.folder}/",
            *(["user root"] if os.geteuid() == 0 else []),
            f"listener {self.port} 127.0.0.1",
            *(self.settings or ["allow_anonymous true"]),
        ]
        path = self.folder / "mosquitto.conf"
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    def stop(self) -> None:
        """Stop it with SIGTERM; it then writes its persistence file."""
        if self.child is not None and self.child.running:
            self.child.end()

    def kill(self) -> None:
        """End it with SIGKILL; it writes nothing."""
        if self.child is not None:
            self.child.kill()

    def restart(self) -> None:
        self.stop()
        self.start()


@contextlib.contextmanager
def ended_afterwards() -> Iterator[list[Child]]:
    """A list of children; those still running when the block ends are stopped, the last started first."""
    children: list[Child] = []
    try:
        yield children
    finally:
        for child in reversed(children):
            if child.running:
                child.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(PATIENCE_S)
            if child.running:
                child.kill()
