"""The OpenSCG document's socket, as a patient and as viewers written from the document alone would use it."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.contract.sockets import EPOCH, Socket, sine
from tests.programs import RelayProgram

DOCUMENTED = [
    {"t": 1721574600123, "ax": -0.012, "ay": 0.001, "az": 0.098},
    {"t": 1721574600133, "ax": -0.011, "ay": 0.002, "az": 0.097},
]


@pytest.fixture
def session(http: httpx.Client) -> str:
    return str(http.post("/api/v1/sessions").json()["websocketUrl"])


async def test_everybody_hears_of_viewers_and_patient(session: str) -> None:
    async with Socket(session) as patient, Socket(session) as first:
        assert await patient.status("viewer_connected") == {"status": "viewer_connected", "viewerCount": 1}
        assert (await first.status("viewer_connected"))["viewerCount"] == 1
        async with Socket(session) as second:
            assert (await patient.status("viewer_connected", 2))["viewerCount"] == 2
            await patient.batch(DOCUMENTED)
            for socket in (patient, first, second):
                assert (await socket.status("patient_connected"))["viewerCount"] == 2
        assert (await patient.status("viewer_disconnected"))["viewerCount"] == 1
        await patient.connection.close()
        assert (await first.status("patient_disconnected"))["viewerCount"] == 1


async def test_said_roles_count_as_said(session: str) -> None:
    async with Socket(f"{session}?role=viewer") as viewer:
        assert (await viewer.status("viewer_connected"))["viewerCount"] == 1
        async with Socket(f"{session}?role=patient") as patient:
            assert (await patient.status("patient_connected"))["viewerCount"] == 1


async def test_documented_batch_gives_the_documented_grid_times(session: str) -> None:
    async with Socket(session) as patient, Socket(session) as viewer:
        await viewer.status("viewer_connected")
        await patient.batch(DOCUMENTED)
        points = await viewer.points_until(1721574600130)
        assert [p["t"] for p in points] == [1721574600120, 1721574600130]
        assert all(list(p) == ["t", "az"] and isinstance(p["t"], int) for p in points)
        assert all(0.09 < p["az"] < 0.105 for p in points)
        assert not patient.points()


async def test_a_minute_of_jittered_samples_comes_out_on_the_grid(session: str) -> None:
    chance = random.Random(7)
    times = [EPOCH + k * 1000 / 98.5 + chance.gauss(0, 1.0) for k in range(round(60 * 98.5))]
    async with Socket(session) as patient, Socket(f"{session}?role=viewer") as viewer:
        await viewer.status("viewer_connected")
        for start in range(0, len(times), 20):
            await patient.batch(sine(times[start : start + 20]))
        points = await viewer.points_until(EPOCH + 59_900)
    t = [p["t"] for p in points]
    assert all(when % 10 == 0 for when in t)
    assert all(b > a for a, b in itertools.pairwise(t))
    assert len(t) == pytest.approx(6000, abs=60)
    errors = [abs(p["az"] - math.sin(2 * math.pi * 5 * (p["t"] - EPOCH) / 1000)) for p in points[5:-5]]
    assert max(errors) < 0.02


async def test_a_gap_is_never_bridged(session: str) -> None:
    async with Socket(session) as patient, Socket(f"{session}?role=viewer") as viewer:
        await viewer.status("viewer_connected")
        await patient.batch(sine([EPOCH + 10 * k for k in range(100)]))
        await patient.batch(sine([EPOCH + 3000 + 10 * k for k in range(100)]))
        points = await viewer.points_until(EPOCH + 3950)
        assert not [p for p in points if EPOCH + 1000 < p["t"] < EPOCH + 2990]
        hole = (await viewer.message("gap"))["payload"]
        assert list(hole) == ["from", "to"]
        assert hole["to"] - hole["from"] == pytest.approx(2010, abs=30)


async def test_whatever_the_times_no_nan_and_the_socket_stays(session: str, http: httpx.Client) -> None:
    chance = random.Random(3)
    sent = 0
    async with Socket(session) as patient, Socket(f"{session}?role=viewer") as viewer:
        await viewer.status("viewer_connected")
        for k in range(40):
            times = [EPOCH + 200 * k + 10 * i + chance.choice([0, 0, -35, 0.25]) for i in range(20)]
            chance.shuffle(times)
            samples = sine([*times, times[0]])
            samples[3]["az"] = float("nan") if k % 5 == 0 else samples[3]["az"]
            samples[4]["ax"] = float("inf") if k % 7 == 0 else samples[4]["ax"]
            await patient.batch(samples)
            sent += len(samples)
        await viewer.points_until(EPOCH + 7800)
        assert all(math.isfinite(p["az"]) for p in viewer.points())
        t = [p["t"] for p in viewer.points()]
        assert t == sorted(set(t))
        await patient.send({"type": "ping", "payload": {"sent": 1.5}})
        assert (await patient.message("pong"))["payload"]["sent"] == 1.5
    stored = http.get(f"/api/v1/sessions/{session.rsplit('/', 1)[1]}").json()["samples"]
    assert len(stored) == sent
    assert [s["t"] for s in stored] == sorted(s["t"] for s in stored)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "MALFORMED_MESSAGE"),
        ("", "MALFORMED_MESSAGE"),
        ("[]", "INVALID_MESSAGE"),
        ("{}", "INVALID_MESSAGE"),
        ('{"type": 7}', "INVALID_MESSAGE"),
        ('{"type": "samples_batch"}', "INVALID_MESSAGE"),
        ('{"type": "samples_batch", "payload": {"samples": []}}', "INVALID_MESSAGE"),
        ('{"type": "samples_batch", "payload": {"samples": [{"t": "x", "az": 1}]}}', "INVALID_MESSAGE"),
        ('{"type": "samples_batch", "payload": {"samples": [{"t": NaN, "az": 1}]}}', "INVALID_MESSAGE"),
        ('{"type": "samples_batch", "payload": 5}', "INVALID_MESSAGE"),
        ('{"type": "ping", "payload": 5}', "INVALID_MESSAGE"),
        ('{"type": "what"}', "UNKNOWN_TYPE"),
        ('{"type": "ping", "payload": ' + "[" * 100_000, "MALFORMED_MESSAGE"),
    ],
)
async def test_bad_messages_are_answered_and_the_socket_stays(session: str, text: str, code: str) -> None:
    async with Socket(session) as patient:
        await patient.send(text)
        error = (await patient.message("error"))["payload"]
        assert list(error) == ["code", "message"]
        assert error["code"] == code
        await patient.batch(DOCUMENTED)
        await patient.status("patient_connected")


async def test_bytes_that_are_no_text_are_answered_too(session: str) -> None:
    async with Socket(session) as patient:
        await patient.connection.send(b"\xff\x00\xfe")
        assert (await patient.message("error"))["payload"]["code"] == "MALFORMED_MESSAGE"
        await patient.connection.send(json.dumps({"type": "ping", "payload": {"sent": 2}}).encode())
        await patient.message("pong")


@pytest.mark.parametrize("name", ["not-a-uuid", "sign-detections", "1234"])
async def test_an_id_that_is_no_uuid_is_closed_1008(relay: RelayProgram, name: str) -> None:
    async with connect(f"{relay.ws}/ws/{name}") as socket:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1008


async def test_an_unknown_session_is_closed_4404(relay: RelayProgram) -> None:
    async with connect(f"{relay.ws}/ws/{uuid4()}") as socket:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 4404


async def test_a_second_sender_is_refused_and_kept(session: str) -> None:
    async with Socket(session) as patient, Socket(session) as other:
        await other.status("viewer_connected")
        await patient.batch(DOCUMENTED)
        await other.status("patient_connected")
        await other.batch(DOCUMENTED)
        assert (await other.message("error"))["payload"]["code"] == "SESSION_HAS_PATIENT"
        await other.message("interpolated_batch")


async def test_a_viewer_who_said_so_cannot_send(session: str) -> None:
    async with Socket(f"{session}?role=viewer") as viewer:
        await viewer.batch(DOCUMENTED)
        assert (await viewer.message("error"))["payload"]["code"] == "SESSION_HAS_PATIENT"


async def test_a_late_viewer_gets_the_backlog_first(session: str) -> None:
    async with Socket(session) as patient:
        for start in range(0, 4000, 20):
            await patient.batch(sine([EPOCH + 10 * (start + k) for k in range(20)]))
        await patient.status("patient_connected")
        await patient.send({"type": "ping", "payload": {"sent": 0}})
        await patient.message("pong")
        async with Socket(session) as viewer:
            first = (await viewer.message("interpolated_batch"))["payload"]["interpolatedSamples"]
            assert viewer.got[0]["type"] == "interpolated_batch"
            assert first[-1]["t"] - first[0]["t"] == pytest.approx(30_000, abs=400)
            await patient.batch(sine([EPOCH + 40_000 + 10 * k for k in range(20)]))
            points = await viewer.points_until(EPOCH + 40_100)
            t = [p["t"] for p in points]
            assert t == sorted(set(t))
            assert t[-1] - t[0] == 10 * (len(t) - 1)


async def test_ending_tells_everybody(session: str, http: httpx.Client) -> None:
    async with Socket(session) as patient, Socket(session) as viewer:
        await viewer.status("viewer_connected")
        await patient.batch(DOCUMENTED)
        await viewer.status("patient_connected")
        http.post(f"/api/v1/sessions/{session.rsplit('/', 1)[1]}/end")
        for socket in (patient, viewer):
            assert (await socket.status("session_ended"))["viewerCount"] == 1
        await patient.batch(DOCUMENTED)
        assert "has ended" in (await patient.message("error"))["payload"]["message"]


async def test_a_numbered_batch_is_acknowledged_once_stored_and_stored_once(session: str, http: httpx.Client) -> None:
    async with Socket(f"{session}?role=patient") as patient:
        for _ in range(3):
            await patient.batch(DOCUMENTED, boot="b1", seq=1)
        ack = (await patient.message("ack"))["payload"]
        assert ack == {"boot": "b1", "seq": [[1, 1]]}
        await patient.batch(DOCUMENTED, boot="b1", seq=1)
        await patient.message("ack", 2)
    stored = http.get(f"/api/v1/sessions/{session.rsplit('/', 1)[1]}").json()["samples"]
    assert stored == DOCUMENTED


async def test_an_analysing_viewer_gets_more_and_others_exactly_the_document(session: str) -> None:
    async with (
        Socket(f"{session}?role=patient") as patient,
        Socket(f"{session}?role=viewer&with=analysis") as analyst,
        Socket(f"{session}?role=viewer") as plain,
    ):
        info = (await analyst.message("session_info"))["payload"]
        assert info["unit"] == "m/s2"
        await patient.send({"type": "device", "payload": {"userAgent": "phone", "platform": "iOS", "unit": "g"}})
        await patient.batch(sine([EPOCH + 10 * k for k in range(300)]))
        analysis = (await analyst.message("analysis"))["payload"]
        assert set(analysis["heartRate"]) == {"bpm", "quality", "reason", "beatMs", "beatSdMs"}
        await asyncio.sleep(0)
        assert {m["type"] for m in plain.got} <= {"status_update", "interpolated_batch", "gap"}


@pytest.mark.parametrize(
    "text",
    [
        r'{"type":"device","payload":{"userAgent":"half \ud800"}}',
        r'{"type":"device","payload":{"userAgent":"\u0000"}}',
    ],
    ids=["half a pair", "nul"],
)
async def test_what_no_column_holds_is_an_error_and_the_socket_stays(session: str, text: str) -> None:
    async with Socket(f"{session}?role=patient") as patient:
        await patient.send(text)
        assert (await patient.message("error"))["payload"]["code"] == "INVALID_MESSAGE"
        await patient.batch(DOCUMENTED, boot="b1", seq=1)
        await patient.message("ack")


async def test_an_oversized_message_closes_with_1009_and_others_stay(session: str) -> None:
    async with Socket(session) as patient, Socket(session) as viewer:
        await viewer.status("viewer_connected")
        await patient.send('{"type":"samples_batch","payload":"' + "x" * 1_100_000 + '"}')
        await viewer.status("viewer_disconnected")
        assert patient.connection.close_code == 1009


async def test_a_patient_back_on_a_new_socket_takes_its_place_over(session: str) -> None:
    async with Socket(f"{session}?role=patient") as before, Socket(f"{session}?role=viewer") as viewer:
        await before.batch(DOCUMENTED, boot="b", seq=1)
        await before.message("ack")
        async with Socket(f"{session}?role=patient") as after:
            await after.send({"type": "device", "payload": {"userAgent": "phone"}})
            await after.batch([{**sample, "t": sample["t"] + 20} for sample in DOCUMENTED], boot="b", seq=2)
            await after.message("ack")
            assert not [m for m in after.got if m["type"] == "error"]
            await viewer.points_until(1721574600150)
            await before.batch(DOCUMENTED, boot="other", seq=1)
            assert (await before.message("error"))["payload"]["code"] == "SESSION_HAS_PATIENT"
