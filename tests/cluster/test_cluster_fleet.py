"""The fleet in a cluster: every relay knows every kit, and what an operator asks of one relay reaches its kit."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from core.contracts.fleet import Report
from core.contracts.topics import Lane, topic
from relay.db.engine import database_url, migrate, open_engine
from relay.errors import Conflict, LeaseLost
from relay.fleet.rules import Desired, Kit, Rollout, RolloutState
from relay.fleet.store import SAID, Deed, FleetStore
from tests.cluster.program import ClusterProgram
from tests.peers_postgres import Postgres
from tests.relay.kits import Kit as KitPeer

DEED = Deed(1, "anna", None, "test", "")


@pytest.fixture(scope="module")
def operators(cluster: ClusterProgram) -> Iterator[list[httpx.Client]]:
    headers = {"Authorization": f"Bearer {cluster.token()}"}
    found = [httpx.Client(base_url=f"{base}/fleet/api/v1", headers=headers, timeout=30) for base in cluster.relays]
    yield found
    for client in found:
        client.close()


def eventually(ask: Callable[[], Any], what: str, within: float = 40.0) -> Any:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if found := ask():
            return found
        time.sleep(0.1)
    raise AssertionError(f"no {what} within {within} s")


def shown(client: httpx.Client, kit: str) -> dict[str, Any]:
    listed = client.get("/kits", params={"q": kit}).json()["kits"]
    return next((dict(one) for one in listed if one["name"] == kit), {})


def say_online(kit: KitPeer) -> None:
    kit.raw(json.dumps({"type": "status", "payload": {"state": "online"}}), Lane.STATUS)


def commands(kit: KitPeer) -> list[str]:
    return [one["payload"]["name"] for one in kit.answers if one["type"] == "command"]


def test_every_relay_shows_every_kit_and_what_was_asked_of_it(
    cluster: ClusterProgram, operators: list[httpx.Client]
) -> None:
    kit = KitPeer(cluster.mqtt_ports[0], f"fleet-{uuid4().hex[:6]}")
    try:
        assert kit.connected.wait(20)
        kit.client.subscribe(topic(kit.name, Lane.COMMAND), qos=1)
        say_online(kit)
        for client in operators:
            eventually(lambda client=client: shown(client, kit.name).get("standing") == "live", "live kit")
        tagged = operators[1].post(f"/kits/{kit.name}/tags", json={"add": ["ward 3"], "remove": []})
        assert tagged.status_code == 200, tagged.text
        say_online(kit)
        for client in operators:
            eventually(lambda client=client: shown(client, kit.name).get("tags") == ["ward 3"], "tag of the kit")
        wanted = {"settings": {"status_every_s": 5}, "expected_version": 0}
        assert operators[2].put(f"/kits/{kit.name}/configuration", json=wanted).status_code == 200
        eventually(lambda: "configure" in commands(kit), "command to the kit")
        for client in operators:
            eventually(lambda client=client: shown(client, kit.name).get("desired") == 1, "desired version")
        assert operators[0].put(f"/kits/{kit.name}/configuration", json=wanted).status_code == 409
    finally:
        kit.close()


@pytest.fixture
async def stores() -> AsyncIterator[tuple[FleetStore, FleetStore, AsyncEngine]]:
    """Two relays' stores on one database."""
    postgres = Postgres()
    await asyncio.to_thread(postgres.start)
    engine = open_engine(database_url(postgres.database(), Path()))
    await migrate(engine)
    yield FleetStore(engine), FleetStore(engine), engine
    await engine.dispose()
    await asyncio.to_thread(postgres.remove)


async def test_what_a_kit_says_and_what_is_asked_of_it_do_not_overwrite_each_other(
    stores: tuple[FleetStore, FleetStore, AsyncEngine],
) -> None:
    one, two, _ = stores
    await one.save([Kit("bed", added_ms=1)], [DEED])
    told: list[list[str]] = []
    one.told = told.append
    asked = Kit("bed", added_ms=1, tags=("ward",), desired=Desired(1, {"a": 1}))
    await two.save([asked], [DEED], only=("tags", "desired"))
    one.put(Kit("bed", added_ms=1, seen_ms=7, online=True, report=Report(problem="tired")))
    await one.drained()
    (kept,) = await two.kits(["bed", "nowhere"])
    assert (kept.tags, kept.desired, kept.seen_ms) == (("ward",), Desired(1, {"a": 1}), 7)
    assert kept.report is not None
    assert kept.report.problem == "tired"
    assert told == [["bed"]]
    with pytest.raises(Conflict):
        await one.save([Kit("bed", desired=Desired(1, {"a": 2}))], [DEED], only=("desired",))
    assert set(SAID) < set(Kit.__struct_fields__)


async def test_a_relay_whose_turn_is_over_halts_nothing(stores: tuple[FleetStore, FleetStore, AsyncEngine]) -> None:
    one, two, _ = stores
    running = Rollout(1, "2.0", "", 50.0, RolloutState.PAUSED, 1)
    await one.keep_rollout(running, DEED)

    async def over(_: Any) -> None:
        raise LeaseLost("another's")

    with pytest.raises(LeaseLost):
        await two.keep_rollout(Rollout(1, "2.0", "", 50.0, RolloutState.HALTED, 1), DEED, over)
    assert await one.rollouts() == [running]
