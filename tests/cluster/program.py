"""`homeside relay --cluster` as a test holds it: each of its programs killed by name."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.cluster.disturbances import Wallclocks
from tests.peers import Child, find_peer, start_homeside
from tests.waiting import PATIENCE_S

START_WITHIN_S = 120.0


class ClusterProgram:
    """Running, and ready. Addresses by relay: `relays` (OpenSCG), `care`; by NATS server: `mqtt_ports`."""

    def __init__(self, folder: Path, clocks: Wallclocks | None = None) -> None:
        """`clocks` gives each program a wall clock of its own, to be stepped."""
        find_peer("nats-server", "nats-server")
        self.folder = folder
        words = ("--data", folder, "--port", "0", "--care-port", "0", "--mqtt-port", "0")
        self.child: Child = start_homeside("relay", "--cluster", *words, env=clocks.environment if clocks else None)
        ready = self.child.wait_for_event("cluster_ready", START_WITHIN_S)
        self.relays: list[str] = ready["relays"]
        self.care: list[str] = ready["care"]
        self.tls: list[str] = ready["tls"]
        self.nats: list[str] = ready["nats"]
        self.mqtt_ports = [int(kits.rsplit(":", 1)[1]) for kits in ready["kits"]]
        self.database = f"postgresql://homeside@127.0.0.1:{ready['database']}/postgres"

    def pid(self, name: str) -> int:
        """Of the newest process of that name."""
        return int([entry for entry in self.child.events("program_started") if entry["name"] == name][-1]["pid"])

    def signal(self, name: str, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid(name), number)

    def kill(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)

    def ready(self, relay: int) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.relays[relay]}/readyz", timeout=5.0).status_code == 200
        return False

    def wait_ready(self, within: float = PATIENCE_S) -> None:
        """Until every relay says it can do its work."""
        self.until(lambda: all(self.ready(relay) for relay in range(3)), "readiness of all relays", within)

    def until(self, condition: Callable[[], Any], what: str, within: float = PATIENCE_S) -> Any:
        return self.child.wait_until(condition, what, within)

    def token(self, role: str = "admin") -> str:
        child = start_homeside("token", "--data", self.folder / "relay-1", "--role", role)
        assert child.wait(60.0) == 0, child.tail()
        return child.lines[-1].strip()

    def log(self, name: str) -> str:
        return (self.folder / "logs" / f"{name}.log").read_text("utf-8", "replace")

    def stop(self) -> int:
        return self.child.end(40.0)


def pause(seconds: float) -> None:
    """Let the system live for a while: the one thing a fault run does without a condition."""
    time.sleep(seconds)
