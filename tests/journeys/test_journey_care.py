"""A kit looked after from afar: settings tried and kept, settings undone, a report, its packages; real programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.peers import Child, ended_afterwards, start_homeside
from tests.programs import RelayProgram, token
from tests.waiting import until

KIT = "home-007"
Shown = dict[str, Any]


class Cared:
    """A relay, a simulated sensor, an agent by its settings file, and an operator."""

    def __init__(self, folder: Path, children: list[Child]) -> None:
        self.relay = RelayProgram(folder / "relay")
        children.append(self.relay.child)
        self.relay.hears_kits()
        port = folder / "sensor"
        self.sensor = start_homeside("simulate", "--link", port, "--rate", "100")
        children.append(self.sensor)
        self.sensor.wait_until(port.exists, "its serial port")
        config = folder / "agent.toml"
        config.write_text(
            f'kit = "{KIT}"\nstate = "{folder / "kit"}"\nstatus_every_s = 1\ntrial_s = 4\n'
            f'[broker]\nurl = "mqtt://127.0.0.1:{self.relay.mqtt_port}"\n[source.serial]\nport = "{port}"\n'
        )
        self.agent = start_homeside("agent", "--config", config)
        children.append(self.agent)
        bearer = {"Authorization": f"Bearer {token(self.relay.data, '--role', 'admin')}"}
        self.operator = httpx.Client(base_url=f"{self.relay.http}/fleet/api/v1", headers=bearer, timeout=30)

    def until(self, wanted: Callable[[Shown], bool], what: str) -> Shown:
        def look() -> Shown | None:
            answer = self.operator.get(f"/kits/{KIT}")
            found: Shown = answer.json()["kit"] if answer.status_code == 200 else {}
            return found if found and wanted(found) else None

        shown: Shown = until(look, what)
        return shown

    def configure(self, settings: dict[str, Any]) -> int:
        return int(self.operator.put(f"/kits/{KIT}/configuration", json={"settings": settings}).json()["version"])


@pytest.fixture
def cared(tmp_path: Path) -> Iterator[Cared]:
    with ended_afterwards() as children:
        found = Cared(tmp_path, children)
        yield found
        found.operator.close()


def settled(version: int, state: str) -> Callable[[Shown], bool]:
    return lambda shown: (
        shown.get("configuration", {}) | {"problem": ""}
        == {
            "version": version,
            "state": state,
            "problem": "",
        }
    )


def test_a_kit_is_looked_after_from_afar(cared: Cared) -> None:
    shown = cared.until(lambda one: one["standing"] == "live" and bool(one.get("session")), "a live kit")
    session = shown["session"]
    assert shown["platform"].startswith("cp3")

    good = cared.configure({"session.resume_within_s": 600, "source.serial.rate_hz": 50})
    cared.until(settled(good, "applied"), "the settings to be kept")
    shown = cared.until(lambda one: one["standing"] == "live", "the kit back")
    assert shown["session"] == session, "a restart for settings ended the session"

    refused = cared.configure({"source.serial.rate_hz": -5})
    shown = cared.until(settled(refused, "refused"), "impossible settings to be refused")
    assert "rate_hz" in shown["configuration"]["problem"]

    lost = cared.configure({"broker.url": "mqtt://127.0.0.1:9"})
    shown = cared.until(settled(lost, "rolled_back"), "settings that lose the relay to be undone")
    assert "relay did not answer" in shown["configuration"]["problem"]
    assert shown["session"] == session

    request = cared.operator.post(f"/kits/{KIT}/diagnostics").json()["request"]
    where = f"/kits/{KIT}/diagnostics?request={request}"
    until(lambda: cared.operator.get(where).status_code == 200, "the report")
    report = cared.operator.get(where).json()["report"]
    assert {"status", "findings", "settings", "packages", "events"} <= set(report)
    assert report["settings"]["source"]["serial"]["rate_hz"] == 50
    assert session not in json.dumps(report), "a report names a session"

    running = cared.operator.get("/packages/numpy").json()["kits"]
    assert [one["name"] for one in running] == [KIT]
    stored = httpx.get(f"{cared.relay.http}/api/v1/sessions/{session}", timeout=30).json()["samples"]
    times = [sample["t"] for sample in stored]
    assert len(times) > 100
    assert times == sorted(set(times))
