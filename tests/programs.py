"""The programs of this project as processes of their own, for tests: started, listened to, killed, ended by id."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
START_WITHIN_S = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """`python -m homeside …` with its JSON log lines read as they come."""

    def __init__(self, *arguments: str, module: str = "homeside", env: dict[str, str] | None = None) -> None:
        self.lines: deque[str] = deque(maxlen=2000)
        self.events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                with self._news:
                    self.events.append(event)
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_event(self, name: str, within_s: float = START_WITHIN_S, after: int = 0) -> dict[str, Any]:
        """The first log line with that event name, waited for."""
        deadline = time.monotonic() + within_s
        with self._news:
            while True:
                for event in self.events[after:]:
                    if event.get("event") == name:
                        return event
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                    raise AssertionError(f"no {name} in the log of {self.process.args}:\n" + "\n".join(self.lines))
                self._news.wait(min(left, 0.2))

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self.process.kill()
        self._gone()

    def stop(self, within_s: float = 15.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self._gone()
            raise AssertionError("did not stop on SIGTERM:\n" + "\n".join(self.lines)) from None
        self._gone()
        return self.process.returncode

    def _gone(self) -> None:
        self.process.wait()
        self._reader.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()


class RelayProgram(Program):
    """A relay on ports of its own. Restarted with the same folder and ports by `again`."""

    def __init__(self, data: Path, *options: str, port: int | None = None, mqtt_port: int | None = None) -> None:
        self.data = data
        self.port = port or free_port()
        self.mqtt_port = mqtt_port or free_port()
        self.options = options
        super().__init__(
            *("--data", str(data), "--port", str(self.port), "--mqtt-port", str(self.mqtt_port), *options),
            module="relay",
        )
        try:
            self.addresses = self.wait_event("relay_ready")
        except AssertionError:
            self.kill()
            raise

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @staticmethod
    def token(data: Path, *options: str) -> str:
        """What `homeside token` prints."""
        command = [
            sys.executable,
            "-c",
            "from relay.__main__ import token_app; token_app()",
            "--data",
            str(data),
            *options,
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip()

    def again(self) -> RelayProgram:
        return RelayProgram(self.data, *self.options, port=self.port, mqtt_port=self.mqtt_port)
