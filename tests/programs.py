"""The relay for tests: a child process with its own ports, which can be killed and started again on the same folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.peers import Child, free_port, start_homeside

START_WITHIN_S = 120.0


class RelayProgram:
    """A running `homeside relay`. `again` starts another one on the same folder and ports."""

    def __init__(
        self,
        data: Path,
        *options: str,
        port: int | None = None,
        mqtt_port: int | None = None,
        care_port: int | None = None,
        signs_port: int | None = None,
        translate_port: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data
        self.port = port or free_port()
        self.mqtt_port = mqtt_port or free_port()
        self.care_port = care_port or free_port()
        self.signs_port = signs_port or free_port()
        self.translate_port = translate_port or free_port()
        self.options = options
        self.env = dict(env or {})
        ports = {"--port": self.port, "--mqtt-port": self.mqtt_port, "--care-port": self.care_port}
        ports |= {"--signs-port": self.signs_port, "--translate-port": self.translate_port}
        words = [str(word) for pair in ports.items() for word in pair]
        self.child: Child = start_homeside("relay", "--data", data, *words, *options, env=self.env)
        self.addresses = self.child.wait_for_event("relay_ready", START_WITHIN_S)

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def care(self) -> str:
        return f"http://127.0.0.1:{self.care_port}"

    @property
    def signs(self) -> str:
        return f"http://127.0.0.1:{self.signs_port}"

    @property
    def translate(self) -> str:
        return f"http://127.0.0.1:{self.translate_port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def hears_kits(self) -> None:
        """Wait until the relay is connected to its bus."""
        self.child.wait_for_event("bus_connected")

    def faults(self) -> list[dict[str, Any]]:
        """The log entries of level error so far."""
        return [entry for entry in self.child.entries() if entry.get("level") == "error"]

    def kill(self) -> None:
        self.child.kill()

    def stop(self) -> int:
        return self.child.end()

    def again(self) -> RelayProgram:
        ports = {"port": self.port, "mqtt_port": self.mqtt_port, "care_port": self.care_port}
        ports |= {"signs_port": self.signs_port, "translate_port": self.translate_port}
        return RelayProgram(self.data, *self.options, **ports, env=self.env)


def token(data: Path, *options: str) -> str:
    """The token that `homeside token` prints."""
    child = start_homeside("token", "--data", data, *options)
    assert child.wait(30.0) == 0, child.tail()
    return child.lines[-1].strip()
