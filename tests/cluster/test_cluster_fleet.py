"""The fleet of a cluster: whichever relay is asked says the same of a kit, and no wish is lost between two of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.program import ClusterProgram
from tests.provisioning.releases import release, trusted
from tests.relay.kits import FleetKit


@pytest.fixture
def operators(cluster: ClusterProgram) -> Iterator[list[httpx.Client]]:
    """One at each relay."""
    cluster.wait_ready()
    bearer = {"Authorization": f"Bearer {cluster.token()}"}
    clients = [httpx.Client(base_url=f"{relay}/fleet/api/v1", headers=bearer, timeout=30) for relay in cluster.relays]
    yield clients
    for client in clients:
        client.close()


def shown(operator: httpx.Client, name: str) -> dict[str, Any]:
    found = operator.get("/kits", params={"q": name}).json()["kits"]
    return next((one for one in found if one["name"] == name), {})


def until_all(cluster: ClusterProgram, operators: list[httpx.Client], name: str, **wanted: Any) -> None:
    def same() -> bool:
        rows = [shown(one, name) for one in operators]
        return all(row.get(key) == value for row in rows for key, value in wanted.items()) and rows[0] == rows[1]

    cluster.until(same, f"{wanted} of {name} at every relay", 60.0)


def test_every_relay_says_the_same_of_a_kit(cluster: ClusterProgram, operators: list[httpx.Client]) -> None:
    kits = [FleetKit(cluster.mqtt_ports[at % 3], f"home-{at}") for at in range(4)]
    for kit in kits:
        kit.tell(version="0.1.0")
    for kit in kits:
        until_all(cluster, operators, kit.name, standing="live", version="0.1.0", battery=81)
    kits[0].tell(sources=[{"name": "serial", "problem": "unplugged"}])
    until_all(cluster, operators, "home-0", standing="attention", problems=["unplugged"])
    kits[1].tell(state="offline")
    until_all(cluster, operators, "home-1", standing="away")
    for kit in kits:
        kit.close()


def test_a_wish_at_one_relay_is_known_to_all(cluster: ClusterProgram, operators: list[httpx.Client]) -> None:
    """Also to the relay that takes the kit's messages, whichever that is: it goes on reminding, and undoes nothing."""
    kit = FleetKit(cluster.mqtt_ports[0], "wished-for")
    kit.tell()
    until_all(cluster, operators, kit.name, standing="live")
    for at, operator in enumerate(operators):
        assert operator.post(f"/kits/{kit.name}/tags", json={"add": [f"by-{at}"]}).status_code == 200
        made = operator.put(f"/kits/{kit.name}/configuration", json={"settings": {"status_every_s": 5 + at}}).json()
        assert made["version"] == at + 1
        kit.tell(clockErrorMs=1.0 + at)
    until_all(cluster, operators, kit.name, tags=["by-0", "by-1", "by-2"], desired=3, clockErrorMs=3.0)
    kit.until(lambda: kit.told("configure")[-1:] == [{"version": 3, "settings": {"status_every_s": 7}}])
    kit.close()


def test_wishes_at_once_are_all_kept(cluster: ClusterProgram, operators: list[httpx.Client]) -> None:
    operators[0].post("/kits", json={"kits": ["torn-at"]})
    until_all(cluster, operators, "torn-at", standing="new")

    def tag(at: int) -> int:
        return operators[at % 3].post("/kits/torn-at/tags", json={"add": [f"t{at:02}"]}).status_code

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(tag, range(18))) == {200}
    until_all(cluster, operators, "torn-at", tags=[f"t{at:02}" for at in range(18)])
    operators[1].delete("/kits/torn-at")
    cluster.until(lambda: not any(shown(one, "torn-at") for one in operators), "the kit forgotten everywhere")


def test_a_bundle_taken_in_by_one_relay_is_handed_out_by_all(
    cluster: ClusterProgram, operators: list[httpx.Client], tmp_path: Path
) -> None:
    bundle = release(tmp_path, "1.1.0").read_bytes()
    (cluster.folder / "relay-1" / "release-keys").write_text(trusted(tmp_path / "keys").read_text())
    made = operators[0].put("/releases", content=bundle)
    assert made.status_code == 201, made.text
    cluster.until(
        lambda: all(one.get("/releases").json()["releases"] for one in operators), "the release at every relay"
    )
    for operator in operators:
        assert operator.get(f"/bundles/{made.json()['file']}").content == bundle
    begun = operators[1].post("/rollouts", json={"version": "1.1.0", "percent": 50}).json()
    widened = operators[2].post("/rollouts", json={"version": "1.1.0", "percent": 100}).json()
    assert (begun["id"], widened["id"]) == (1, 1)
    operators[0].post("/rollouts/1/pause")

    def told(operator: httpx.Client) -> list[Any]:
        return [(one["percent"], one["state"]) for one in operator.get("/rollouts").json()["rollouts"]]

    cluster.until(lambda: all(told(one) == [(100, "paused")] for one in operators), "the rollout at every relay")


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_when_a_relay_is_killed_the_others_take_its_kits_over(
    cluster: ClusterProgram, operators: list[httpx.Client]
) -> None:
    kits = [FleetKit(cluster.mqtt_ports[at % 3], f"stays-{at}") for at in range(4)]
    for kit in kits:
        kit.tell(backlog=1)
    for kit in kits:
        until_all(cluster, operators, kit.name, standing="live", backlog=1)
    cluster.kill("relay-1")
    for kit in kits:
        kit.tell(backlog=2)
    others = operators[1:]
    for kit in kits:
        until_all(cluster, others, kit.name, standing="live", backlog=2)
    cluster.wait_ready()
    for kit in kits:
        kit.tell(backlog=2)
        until_all(cluster, operators, kit.name, standing="live", backlog=2)
        kit.close()
