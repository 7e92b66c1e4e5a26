"""Timers in a cluster: any relay answers, exactly one switch wins, and everybody hears of everything once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.cluster.program import ClusterProgram
from tests.contract.sockets import Socket


@pytest.fixture(scope="module")
def clients(cluster: ClusterProgram) -> Iterator[list[httpx.Client]]:
    headers = {"Authorization": f"Bearer {cluster.token()}"}
    found = [httpx.Client(base_url=base, headers=headers, timeout=30.0) for base in cluster.care]
    yield found
    for client in found:
        client.close()


def begin(client: httpx.Client, time_ms: int = 600_000, **more: Any) -> str:
    session = f"board-{uuid4()}"
    body = {
        "session_id": session,
        "sync_mode": "per_participant",
        "participants": [
            {"participant_id": name, "participant_index": index, "total_time_ms": time_ms}
            for index, name in enumerate(("white", "black"))
        ],
        **more,
    }
    assert client.post("/v1/sessions", json=body).status_code == 201
    assert client.post(f"/v1/sessions/{session}/start", json={}).status_code == 200
    return session


def socket(client: httpx.Client, session: str) -> str:
    token = client.headers["Authorization"].split()[1]
    return f"{str(client.base_url).replace('http', 'ws', 1).rstrip('/')}/sessions/{session}?token={token}"


def test_any_relay_answers_for_what_another_did(clients: list[httpx.Client]) -> None:
    session = begin(clients[0])
    switched = clients[1].post(f"/v1/sessions/{session}/switch", json={"current_participant_id": "white"})
    assert switched.status_code == 200
    for client in clients:
        seen = client.get(f"/v1/sessions/{session}").json()
        assert seen["active_participant_id"] == "black"
        assert seen["version"] == 3
    assert clients[0].post("/v1/sessions", json={"session_id": session, "sync_mode": "global"}).status_code in (
        400,
        409,
    )
    assert clients[2].delete(f"/v1/sessions/{session}").status_code == 200
    assert [client.get(f"/v1/sessions/{session}").status_code for client in clients] == [404] * 3


async def test_of_many_switches_at_once_through_all_relays_one_wins(clients: list[httpx.Client]) -> None:
    session = begin(clients[0])

    def switch(client: httpx.Client) -> int:
        wanted = {"current_participant_id": "white", "next_participant_id": "black"}
        return client.post(f"/v1/sessions/{session}/switch", json=wanted).status_code

    codes = await asyncio.gather(*(asyncio.to_thread(switch, clients[k % 3]) for k in range(12)))
    assert sorted(codes) == [200] + [409] * 11
    assert clients[1].get(f"/v1/sessions/{session}").json()["version"] == 3


async def test_sockets_on_every_relay_hear_each_version_once(clients: list[httpx.Client]) -> None:
    session = begin(clients[0])
    async with (
        Socket(socket(clients[0], session)) as one,
        Socket(socket(clients[1], session)) as two,
        Socket(socket(clients[2], session)) as three,
    ):
        for number in range(6):
            code = await asyncio.to_thread(
                lambda n=number: clients[n % 3].post(f"/v1/sessions/{session}/switch", json={}).status_code
            )
            assert code == 200
        for heard in (one, two, three):
            await heard.until(lambda got: any(_version(m) == 8 for m in got))
            versions = [found for m in heard.got if (found := _version(m))]
            assert versions[-1] == 8
            assert versions == sorted(set(versions))
        assert (await asyncio.to_thread(clients[2].delete, f"/v1/sessions/{session}")).status_code == 200
        for heard in (one, two, three):
            await heard.message("SESSION_DELETED")


def _version(message: dict[str, Any]) -> int | None:
    return message["payload"]["version"] if message["type"] == "SESSION_UPDATE" else None


async def test_time_runs_out_once_and_everybody_hears_of_it(clients: list[httpx.Client]) -> None:
    sessions = [begin(clients[k % 3], 1500) for k in range(9)]
    sockets = [Socket(socket(client, session)) for session in sessions for client in clients]
    for one in sockets:
        await one.__aenter__()
    try:
        for one in sockets:
            await one.message("TIME_EXPIRED")
            await one.until(lambda got: any(m["payload"].get("status") == "expired" for m in got))
        assert all(len([m for m in one.got if m["type"] == "TIME_EXPIRED"]) == 1 for one in sockets)
    finally:
        for one in sockets:
            await one.__aexit__()
    for session in sessions:
        assert clients[0].get(f"/v1/sessions/{session}").json()["status"] == "expired"


def test_the_relays_agree_what_time_it_is(clients: list[httpx.Client]) -> None:
    apart = []
    for client in clients:
        before = time.time()
        said = client.get("/v1/time").json()["timestamp_ms"]
        apart.append(said - (before + time.time()) * 500)
    assert max(apart) - min(apart) < 250


async def test_a_relay_that_dies_leaves_no_timer_unheard(cluster: ClusterProgram, clients: list[httpx.Client]) -> None:
    """Whoever's turn it was: the next in line does it within a second of the deadline."""
    sessions = [begin(clients[k % 3], 4_000) for k in range(12)]
    cluster.kill("relay-2")
    listeners = [Socket(socket(clients[(k % 2) * 2], session)) for k, session in enumerate(sessions)]
    for one in listeners:
        await one.__aenter__()
    try:
        for session, one in zip(sessions, listeners, strict=True):
            await one.message("TIME_EXPIRED")
            seen = clients[0].get(f"/v1/sessions/{session}").json()
            assert seen["status"] == "expired"
    finally:
        for one in listeners:
            await one.__aexit__()
        await asyncio.to_thread(cluster.wait_ready)
