"""The fleet as an operator meets it over HTTP, with kits that speak real MQTT."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.contracts.topics import Lane
from tests.peers import start_homeside
from tests.programs import RelayProgram, token
from tests.relay.kits import FleetKit
from tests.waiting import until

Says = Callable[..., None]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProgram]:
    program = RelayProgram(tmp_path_factory.mktemp("fleet"))
    program.hears_kits()
    yield program
    assert program.stop() == 0


@pytest.fixture(scope="module")
def operator(relay: RelayProgram) -> Iterator[httpx.Client]:
    bearer = {"Authorization": f"Bearer {token(relay.data, '--role', 'admin')}"}
    with httpx.Client(base_url=f"{relay.http}/fleet/api/v1", headers=bearer, timeout=30) as client:
        yield client


@pytest.fixture
def kit(relay: RelayProgram, request: pytest.FixtureRequest) -> Iterator[FleetKit]:
    found = FleetKit(relay.mqtt_port, request.node.name.replace("_", "-")[:60])
    yield found
    found.close()


def row(operator: httpx.Client, name: str) -> dict[str, Any] | None:
    found = operator.get("/kits", params={"q": name}).json()["kits"]
    return next((one for one in found if one["name"] == name), None)


def until_row(operator: httpx.Client, name: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = row(operator, name)
        return found if found is not None and wanted(found) else None

    found: dict[str, Any] = until(look, f"the fleet to show {name} so")
    return found


def test_how_a_kit_is(kit: FleetKit, operator: httpx.Client) -> None:
    kit.tell()
    shown = until_row(operator, kit.name, lambda one: one["standing"] == "live")
    assert (shown["battery"], shown["temperature"], shown["clockErrorMs"], shown["version"]) == (81, 54.0, 2.5, "0.1.0")
    kit.tell(sources=[{"name": "serial", "problem": "unplugged", "batteryPercent": 81}], backlog=900)
    shown = until_row(operator, kit.name, lambda one: one["standing"] == "attention")
    assert shown["problems"] == ["unplugged", "Sending what it kept"]
    kit.tell(state="offline")
    until_row(operator, kit.name, lambda one: one["standing"] == "away")


@pytest.mark.parametrize(
    "payload", ["null", "[]", '{"sources": 5, "machine": [], "backlog": "many", "state": "online", "battery": 1e999}']
)
def test_a_kit_that_talks_nonsense_is_shown_as_far_as_it_makes_sense(
    kit: FleetKit, operator: httpx.Client, payload: str
) -> None:
    kit.raw(f'{{"type": "status", "payload": {payload}}}', Lane.STATUS)
    kit.tell()
    until_row(operator, kit.name, lambda one: one["standing"] == "live")


def test_only_admins_see_the_fleet(relay: RelayProgram) -> None:
    for role, status in (("viewer", 403), ("kit", 403), ("physiotherapist", 403), ("admin", 200)):
        bearer = {"Authorization": f"Bearer {token(relay.data, '--role', role)}"}
        assert httpx.get(f"{relay.http}/fleet/api/v1/kits", headers=bearer).status_code == status
    assert httpx.get(f"{relay.http}/fleet/api/v1/kits").status_code == 401


def test_tags_find_kits(kit: FleetKit, operator: httpx.Client) -> None:
    kit.tell()
    until_row(operator, kit.name, lambda one: True)
    assert operator.post(f"/kits/{kit.name}/tags", json={"add": ["ward 3", "pilot"]}).json()["tags"] == [
        "pilot",
        "ward 3",
    ]
    assert operator.post(f"/kits/{kit.name}/tags", json={"remove": ["pilot"]}).json()["tags"] == ["ward 3"]
    assert [one["name"] for one in operator.get("/kits", params={"tag": "ward 3"}).json()["kits"]] == [kit.name]
    refused = operator.post(f"/kits/{kit.name}/tags", json={"add": ["<b>"]})
    assert refused.status_code == 400
    assert "no tag" in refused.json()["error"]["message"]


def test_settings_are_told_until_they_are_heard(kit: FleetKit, operator: httpx.Client) -> None:
    kit.tell()
    until_row(operator, kit.name, lambda one: one["standing"] == "live")
    made = operator.put(f"/kits/{kit.name}/configuration", json={"settings": {"status_every_s": 5}}).json()
    assert made == {"version": 1, "settings": {"status_every_s": 5}}
    assert kit.until_told("configure") == made
    stale = operator.put(f"/kits/{kit.name}/configuration", json={"settings": {}, "expected_version": 0})
    assert stale.status_code == 409
    odd = operator.put(f"/kits/{kit.name}/configuration", json={"settings": {}, "expected_version": True})
    assert odd.status_code == 400
    kit.tell(configuration={"version": 1, "state": "trying"})
    assert kit.until_told("keep") == {"version": 1}
    kit.tell(configuration={"version": 1, "state": "rolled_back", "problem": "the relay did not answer"})
    shown = until_row(operator, kit.name, lambda one: one["standing"] == "attention")
    assert shown["problems"] == ["Settings rolled back: the relay did not answer"]


def test_who_runs_a_package(kit: FleetKit, operator: httpx.Client) -> None:
    kit.tell(packages="d2")
    kit.until_told("list_packages")
    listed = {"digest": "d2", "packages": {"openssl-py": "3.0.1", "numpy": "2.0.0"}}
    kit.say("packages", listed, boot="b", seq=1)
    kit.until(lambda: kit.acked("b") == {1})
    found = operator.get("/packages/OpenSSL_py").json()
    assert found["kits"] == [{"name": kit.name, "version": "3.0.1", "online": True}]


def test_a_report_is_asked_for_and_kept(kit: FleetKit, operator: httpx.Client) -> None:
    kit.tell()
    until_row(operator, kit.name, lambda one: one["standing"] == "live")
    request = operator.post(f"/kits/{kit.name}/diagnostics").json()["request"]
    assert kit.until_told("diagnose") == {"request": request}
    assert operator.get(f"/kits/{kit.name}/diagnostics", params={"request": request}).status_code == 404
    kit.say("diagnostics", {"request": request, "report": {"findings": []}}, boot="b", seq=1)
    kit.until(lambda: kit.acked("b") == {1})
    assert operator.get(f"/kits/{kit.name}/diagnostics").json()["report"] == {"findings": []}
    deeds = operator.get(f"/kits/{kit.name}").json()["deeds"]
    assert [(one["who"], one["action"]) for one in deeds] == [("operator", "diagnose")]


def test_expected_kits_and_a_restart(tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path)
    bearer = {"Authorization": f"Bearer {token(relay.data, '--role', 'admin')}"}
    where = f"{relay.http}/fleet/api/v1/kits"
    names = [f"home-{number:03}" for number in range(30)]
    assert httpx.post(where, headers=bearer, json={"kits": names, "tags": ["2026"]}).json() == {"added": 30}
    assert httpx.post(where, headers=bearer, json={"kits": names}).json() == {"added": 0}
    assert httpx.post(where, headers=bearer, json={"kits": ["../etc"]}).status_code == 400
    relay.kill()
    again = relay.again()
    found = httpx.get(where, headers=bearer, params={"standing": "new", "limit": 10}).json()
    assert (found["total"], len(found["kits"]), found["summary"]["tags"]) == (30, 10, ["2026"])
    assert httpx.delete(f"{where}/home-000", headers=bearer).status_code == 204
    assert httpx.get(f"{where}/home-000", headers=bearer).status_code == 404
    assert again.stop() == 0


def test_the_same_from_a_terminal(kit: FleetKit, operator: httpx.Client, relay: RelayProgram) -> None:
    kit.tell()
    until_row(operator, kit.name, lambda one: one["standing"] == "live")

    def fleet(*words: str, code: int = 0) -> str:
        child = start_homeside("fleet", *words, "--url", relay.http, "--data", relay.data)
        assert child.wait(120.0) == code, child.tail()
        return "\n".join(child.lines)

    assert json.loads(fleet("list", kit.name, "--json"))["kits"][0]["name"] == kit.name
    assert kit.name[:12] in fleet("list", kit.name)
    assert fleet("tag", kit.name, "--add", "ward 3") == "ward 3"
    fleet("config", kit.name, "--set", "source.serial.rate_hz=200", "--set", "log_level=debug")
    assert kit.until_told("configure")["settings"] == {"source.serial.rate_hz": 200, "log_level": "debug"}
    said = json.loads(fleet("config", kit.name, "--unset", "log_level", "--json"))
    assert said["settings"] == {"source.serial.rate_hz": 200}
    assert "ward 3" in fleet("show", kit.name)
    assert "No kit 'nobody' is known here" in fleet("show", "nobody", code=2)
    assert "publish its bundle first" in fleet("update", "9.9.9", code=2)
