"""The SyncKairos document's sockets: what comes, when it comes, and what a bad message does (nothing)."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.contract.sockets import Socket
from tests.contract.timers import P1, P2, Timers, client, short, signed
from tests.programs import RelayProgram


@pytest.fixture(scope="module")
def timers(relay: RelayProgram) -> Iterator[Timers]:
    with client(relay) as found:
        yield found


def payloads(socket: Socket, kind: str) -> list[dict[str, Any]]:
    return [message["payload"] for message in socket.got if message["type"] == kind]


@pytest.mark.parametrize("query", ["", "?token=nonsense", "?token="])
async def test_a_socket_without_a_good_token_is_refused(timers: Timers, query: str) -> None:
    session = timers.started()
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{timers.relay.care_port}/sessions/{session}{query}")
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body or b"")["error"]["code"] == "UNAUTHORIZED"


async def test_an_unknown_session_has_no_socket(timers: Timers) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with timers.socket("nobody"):
            pass
    assert refused.value.response.status_code == 404


@pytest.mark.parametrize("path", ["/sessions/", "/v1/sessions/", "/timers/sessions/", "/timers/v1/sessions/"])
async def test_every_documented_path_gets_updates(timers: Timers, path: str) -> None:
    session = timers.create()
    async with timers.socket(session, path) as socket:
        timers.post(session, "start")
        update = await socket.message("SESSION_UPDATE")
        assert update["payload"]["session_id"] == session


async def test_an_update_follows_every_change_at_once(timers: Timers) -> None:
    session = timers.create()
    async with timers.socket(session) as socket, async_client(timers) as http:
        for number, what in enumerate(("start", "switch", "pause", "resume", "complete"), 1):
            answer = (await http.post(f"/v1/sessions/{session}/{what}")).json()
            payload = (await socket.message("SESSION_UPDATE", number))["payload"]
            assert payload["version"] == answer["version"] == number + 1
            assert payload["status"] == answer["status"]
            assert {"session_id", "active_participant_id", "cycle_started_at", "server_time_ms"} <= set(payload)
            assert [one["participant_id"] for one in payload["participants"]] == [P1, P2]


def async_client(timers: Timers) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=timers.http.base_url, headers=dict(timers.http.headers))


async def test_time_runs_out_with_no_request_at_all(timers: Timers) -> None:
    session = timers.create(participants=short(1500))
    async with timers.socket(session) as socket:
        deadline = time.time() * 1000 + 1500
        body = timers.post(session, "start").json()
        expired = (await socket.message("TIME_EXPIRED"))["payload"]
        heard = time.time() * 1000
        assert (expired["session_id"], expired["expired_participant_id"]) == (session, P1)
        assert expired["action_applied"] == {"type": "end_session", "outcome": "timeout", "winner": P2}
        assert deadline - 2 <= expired["server_time_ms"] <= heard + 2
        last = await socket.until(lambda _: [one for one in payloads(socket, "SESSION_UPDATE") if one["version"] == 3])
        assert last[0]["status"] == "expired"
    assert body["status"] == "running"
    assert timers.get(session)["status"] == "expired"


async def test_warnings_low_and_critical_once_a_turn(timers: Timers) -> None:
    session = timers.create(participants=short(10_400))
    async with timers.socket(session) as socket:
        began = time.time() * 1000
        timers.post(session, "start")
        low = (await socket.message("TIME_WARNING"))["payload"]
        assert (low["participant_id"], low["threshold"], low["time_remaining_ms"]) == (P1, "low", 10_000)
        assert began + 400 - 2 <= low["server_time_ms"] <= time.time() * 1000 + 2
        critical = (await socket.message("TIME_WARNING", 2))["payload"]
        assert (critical["threshold"], critical["time_remaining_ms"]) == ("critical", 5_000)
        assert critical["server_time_ms"] - low["server_time_ms"] == 5_000
        assert len(payloads(socket, "TIME_WARNING")) == 2


async def test_thresholds_are_ones_own(timers: Timers) -> None:
    thresholds = {"low": 2500, "critical": 0}
    session = timers.create(participants=short(3000), warning_thresholds_ms=thresholds)
    async with timers.socket(session) as socket:
        timers.post(session, "start")
        warning = (await socket.message("TIME_WARNING"))["payload"]
        assert (warning["threshold"], warning["time_remaining_ms"]) == ("low", 2500)
        await socket.message("TIME_EXPIRED")
        assert len(payloads(socket, "TIME_WARNING")) == 1


async def test_ping_is_answered_at_top_level(timers: Timers) -> None:
    async with timers.socket(timers.create()) as socket:
        asked = time.time() * 1000
        await socket.send({"type": "PING", "timestamp": 1729435800000})
        pong = await socket.message("PONG")
        assert list(pong) == ["type", "client_timestamp", "server_timestamp"]
        assert pong["client_timestamp"] == 1729435800000
        assert asked - 2 <= pong["server_timestamp"] <= time.time() * 1000 + 2


async def test_a_subscription_narrows_what_a_socket_gets(timers: Timers) -> None:
    three = [{"participant_id": f"p{k}", "total_time_ms": 60_000} for k in range(3)]
    session = timers.create(participants=three, active_participant_id="p0")
    async with timers.socket(session) as narrowed, timers.socket(session) as whole:
        await narrowed.send({"type": "SUBSCRIBE_PARTICIPANT", "participant_id": "nobody"})
        assert (await narrowed.message("ERROR"))["payload"]["code"] == "PARTICIPANT_NOT_FOUND"
        await narrowed.send({"type": "SUBSCRIBE_PARTICIPANT", "participant_id": "p0"})
        subscribed = (await narrowed.message("SUBSCRIBED"))["payload"]
        assert (subscribed["participant_id"], subscribed["total_time_ms"]) == ("p0", 60_000)
        for what in ("start", "switch", "switch", "switch"):
            timers.post(session, what)
        await whole.message("SESSION_UPDATE", 4)
        assert [len(one["participants"]) for one in payloads(whole, "SESSION_UPDATE")] == [3, 3, 3, 3]
        await narrowed.message("SESSION_UPDATE", 3)
        timers.http.delete(f"/v1/sessions/{session}")
        await narrowed.message("SESSION_DELETED")
        updates = payloads(narrowed, "SESSION_UPDATE")
        assert [one["version"] for one in updates] == [2, 3, 5], "p1 to p2 is none of p0's business"
        assert all([seat["participant_id"] for seat in one["participants"]] == ["p0"] for one in updates)


async def test_reconnect_brings_the_whole_state(timers: Timers) -> None:
    session = timers.started()
    async with timers.socket(session) as socket:
        await socket.send({"type": "RECONNECT", "last_known_version": 1})
        state = (await socket.message("STATE_SYNC"))["payload"]
        assert (state["version"], state["status"], state["session_id"]) == (2, "running", session)
        await socket.send({"type": "RECONNECT", "payload": {"last_known_version": 2}})
        assert (await socket.message("STATE_SYNC", 2))["payload"]["version"] == 2


async def test_deletion_is_told_and_closes(timers: Timers) -> None:
    session = timers.started()
    async with timers.socket(session) as socket:
        timers.http.delete(f"/v1/sessions/{session}")
        assert (await socket.message("SESSION_DELETED"))["payload"]["session_id"] == session
        await socket.connection.wait_closed()
        assert socket.connection.close_code == 1000


async def test_a_time_set_by_hand_is_told(timers: Timers) -> None:
    session = timers.started()
    async with timers.socket(session) as socket:
        timers.http.patch(f"/v1/sessions/{session}/participants/{P2}", json={"total_time_ms": 300_000})
        seats = (await socket.message("SESSION_UPDATE"))["payload"]["participants"]
        assert seats[1]["total_time_ms"] == 300_000


async def test_a_hundred_bad_messages_change_nothing(timers: Timers) -> None:
    session = timers.started()
    before, chance = timers.get(session)["version"], random.Random(3)
    bad: list[Any] = ["{", "[]", "null", '"x"', "{}", {"type": 5}, {"type": "NOPE"}, {"type": "SUBSCRIBE_PARTICIPANT"}]
    bad += [{"type": "PING", "timestamp": "x"}, {"type": "SUBSCRIBE_PARTICIPANT", "participant_id": 7}, "[" * 5000]
    while len(bad) < 100:
        bad.append("".join(chr(chance.randrange(32, 0x2FF)) for _ in range(chance.randrange(1, 60))))
    async with timers.socket(session) as socket:
        for one in bad:
            await socket.send(one)
        await socket.connection.send(b"\xff\xfe\x00")
        await socket.message("ERROR", 101)
        assert {one["payload"]["code"] for one in socket.got} <= {"VALIDATION_ERROR", "PARTICIPANT_NOT_FOUND"}
        await socket.send({"type": "PING", "timestamp": 1})
        assert (await socket.message("PONG"))["client_timestamp"] == 1
    assert timers.get(session)["version"] == before


async def test_a_viewers_link_may_listen(timers: Timers) -> None:
    session = timers.started()
    bearer = signed(timers.relay, "viewer", session=session)
    async with Socket(f"ws://127.0.0.1:{timers.relay.care_port}/sessions/{session}?token={bearer}") as socket:
        timers.post(session, "switch")
        await socket.message("SESSION_UPDATE")


async def test_a_thousand_sessions_with_two_sockets_each_lose_nothing(timers: Timers) -> None:
    async with async_client(timers) as http:
        sessions = [f"many-{k}" for k in range(1000)]
        gate = asyncio.Semaphore(20)

        async def make(session: str) -> None:
            async with gate:
                body = {"session_id": session, "sync_mode": "per_participant", "participants": short(600_000)}
                assert (await http.post("/v1/sessions", json=body)).status_code == 201
                assert (await http.post(f"/v1/sessions/{session}/start")).status_code == 200

        await asyncio.gather(*map(make, sessions))
        url = f"ws://127.0.0.1:{timers.relay.care_port}/sessions/"
        sockets = [Socket(f"{url}{session}?token={timers.bearer}") for session in sessions for _ in range(2)]
        for start in range(0, len(sockets), 50):
            await asyncio.gather(*(socket.__aenter__() for socket in sockets[start : start + 50]))
        for session in sessions:
            assert (await http.post(f"/v1/sessions/{session}/switch")).status_code == 200
        for socket in sockets:
            await socket.message("SESSION_UPDATE")
        assert all(len(payloads(socket, "SESSION_UPDATE")) == 1 for socket in sockets)
        for start in range(0, len(sockets), 50):
            await asyncio.gather(*(socket.__aexit__() for socket in sockets[start : start + 50]))
