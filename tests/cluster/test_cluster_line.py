"""The heart line in a cluster: any relay shows it, whichever took it, whole and once."""

from __future__ import annotations

import asyncio
import json
import math
from itertools import pairwise
from typing import Any
from uuid import uuid4

import httpx
import nats

from relay.cluster.subjects import live
from tests.cluster.program import ClusterProgram
from tests.contract.sockets import EPOCH, Socket, sine
from tests.relay.kits import Kit

STARTED = {"startedAt": "2024-07-21T15:10:00.000Z", "device": {"userAgent": "kit", "platform": "pi"}, "unit": "g"}


def say(kit: Kit, seq: int, per: int = 10) -> None:
    first = EPOCH + (seq - 2) * per * 10
    kit.say("samples_batch", {"samples": sine(first + 10 * k for k in range(per))}, boot="b1", seq=seq)


def ws(http: str, session: str, **query: object) -> str:
    asked = "&".join(f"{key}={value}" for key, value in query.items())
    return f"{http.replace('http', 'ws', 1)}/ws/{session}?{asked}"


def measured(relay: str, session: str) -> bool:
    listed = httpx.get(f"{relay}/api/v1/sessions").json()["sessions"]
    return any(line["sessionId"] == session and line["patientConnected"] for line in listed)


async def test_a_kit_is_seen_on_every_relay_and_stored_once(cluster: ClusterProgram) -> None:
    kit = Kit(cluster.mqtt_ports[0], f"kit-{uuid4().hex[:6]}")
    try:
        await asyncio.to_thread(kit.connected.wait, 10)
        await asyncio.to_thread(kit.say, "session_started", STARTED, boot="b1", seq=1)
        await asyncio.to_thread(kit.until, lambda: kit.acked("b1") == {1}, 20)
        async with (
            Socket(ws(cluster.relays[0], kit.session, role="viewer")) as one,
            Socket(ws(cluster.relays[1], kit.session, role="viewer")) as two,
            Socket(ws(cluster.relays[2], kit.session, role="viewer")) as three,
        ):
            await one.until(
                lambda got: any(m["type"] == "status_update" and m["payload"]["viewerCount"] == 3 for m in got)
            )
            for seq in range(2, 32):
                await asyncio.to_thread(say, kit, seq)
            end = EPOCH + 30 * 100 - 10
            lines = [await viewer.points_until(end) for viewer in (one, two, three)]
            assert lines[0] == lines[1] == lines[2]
            assert [point["t"] for point in lines[0]] == list(range(EPOCH, end + 1, 10))
            await asyncio.to_thread(kit.until, lambda: kit.acked("b1") == set(range(1, 32)), 20)
            await asyncio.to_thread(kit.say, "session_ended", {"endedAt": "2024-07-21T15:11:00Z"}, boot="b1", seq=32)
            for viewer in (one, two, three):
                await viewer.status("session_ended")
    finally:
        kit.close()
    for relay in cluster.relays:
        found = httpx.get(f"{relay}/api/v1/sessions/{kit.session}").json()
        assert [sample["t"] for sample in found["samples"]] == [EPOCH + 10 * k for k in range(300)]
        assert found["unit"] == "g"
        assert "endedAt" in found


async def test_what_a_kit_repeats_through_other_servers_is_stored_once(cluster: ClusterProgram) -> None:
    name, session = f"kit-{uuid4().hex[:6]}", str(uuid4())
    kits = [Kit(port, name) for port in cluster.mqtt_ports]
    try:
        for kit in kits:
            kit.session = session
            await asyncio.to_thread(kit.connected.wait, 10)
        await asyncio.gather(
            *(asyncio.to_thread(say, kit, seq) for seq in range(2, 22) for kit in kits),
        )
        await asyncio.to_thread(kits[0].until, lambda: kits[0].acked("b1") == set(range(2, 22)), 30)
    finally:
        for kit in kits:
            kit.close()
    found = httpx.get(f"{cluster.relays[2]}/api/v1/sessions/{session}").json()["samples"]
    assert [sample["t"] for sample in found] == [EPOCH + 10 * k for k in range(200)]


async def test_a_phone_on_one_relay_is_watched_on_another(cluster: ClusterProgram) -> None:
    created = httpx.post(f"{cluster.relays[0]}/api/v1/sessions").json()["sessionId"]
    async with (
        Socket(ws(cluster.relays[0], created, role="patient")) as patient,
        Socket(ws(cluster.relays[1], created, role="viewer")) as viewer,
    ):
        assert (await patient.status("viewer_connected"))["viewerCount"] == 1
        for start in range(0, 200, 50):
            await patient.batch(sine(EPOCH + 10 * k for k in range(start, start + 50)))
        points = await viewer.points_until(EPOCH + 1990)
        assert [point["t"] for point in points] == list(range(EPOCH, EPOCH + 2000, 10))
        assert max(abs(p["az"] - math.sin(2 * math.pi * 5 * (p["t"] - EPOCH) / 1000)) for p in points[5:-5]) < 0.01
        async with Socket(ws(cluster.relays[2], created)) as second:
            await asyncio.to_thread(cluster.until, lambda: measured(cluster.relays[2], created), "patient elsewhere")
            await second.send({"type": "samples_batch", "payload": {"samples": [{"t": 1, "az": 1}]}})
            assert (await second.message("error"))["payload"]["code"] == "SESSION_HAS_PATIENT"


async def test_who_is_in_the_room_is_said_again(cluster: ClusterProgram) -> None:
    """Words between relays may be lost; here one is wrong instead, and is put right."""
    created = httpx.post(f"{cluster.relays[0]}/api/v1/sessions").json()["sessionId"]
    wrong = {"relay": "relay-2", "viewers": 7, "patient": False}
    async with (
        Socket(ws(cluster.relays[0], created, role="patient")) as patient,
        Socket(ws(cluster.relays[1], created, role="viewer")),
    ):
        await patient.status("viewer_connected")
        between = await nats.connect(cluster.nats[0])
        await between.publish(live(created, "presence"), json.dumps(wrong).encode())
        await patient.until(lambda got: _viewer_counts(got)[-2:] == [7, 1])
        await between.close()


def _viewer_counts(got: list[dict[str, Any]]) -> list[int]:
    return [one["payload"]["viewerCount"] for one in got if one["type"] == "status_update"]


async def test_a_viewer_goes_on_where_it_was_on_another_relay(cluster: ClusterProgram) -> None:
    created = httpx.post(f"{cluster.relays[0]}/api/v1/sessions").json()["sessionId"]
    numbers = iter(range(1, 10_000))

    async def send(patient: Socket, start: int, stop: int) -> None:
        for k in range(start, stop, 20):
            await patient.batch(sine(EPOCH + 10 * (k + j) for j in range(20)), boot="p", seq=next(numbers))

    async with Socket(ws(cluster.relays[0], created, role="patient")) as patient:
        async with Socket(ws(cluster.relays[1], created, role="viewer")) as before:
            await send(patient, 0, 200)
            first = await before.points_until(EPOCH + 1900)
        last = first[-1]["t"]
        await send(patient, 200, 400)
        async with Socket(ws(cluster.relays[2], created, role="viewer", after=last)) as after:
            await send(patient, 400, 600)
            second = await after.points_until(EPOCH + 5900)
    times = [point["t"] for point in first + second]
    wrong = [(before, now) for before, now in pairwise(times) if now != before + 10]
    assert not wrong
    assert times[0] == EPOCH
