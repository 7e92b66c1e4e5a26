"""A kit over MQTT is the patient, with no socket: same data, same room, acknowledged after the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core.contracts.topics import Lane, topic
from tests.contract.sockets import EPOCH, Socket, sine
from tests.programs import RelayProgram, token
from tests.relay.kits import Kit


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProgram]:
    program = RelayProgram(tmp_path_factory.mktemp("kits"))
    yield program
    assert program.stop() == 0


@pytest.fixture
def kit(relay: RelayProgram) -> Iterator[Kit]:
    relay.hears_kits()
    kit = Kit(relay.mqtt_port)
    assert kit.connected.wait(10)
    yield kit
    kit.close()


def _session(relay: RelayProgram, kit: Kit) -> dict:
    return httpx.get(f"{relay.http}/api/v1/sessions/{kit.session}").json()


async def test_viewers_see_a_kit_as_they_see_a_socket(relay: RelayProgram, kit: Kit) -> None:
    sent = sine([EPOCH + 10 * k for k in range(400)])
    started = {
        "startedAt": "2025-07-21T14:30:00.123Z",
        "device": {"userAgent": "homeside/1", "platform": "Linux"},
        "sensor": {"name": "chest", "kind": "serial", "rateHz": 100.0},
    }
    kit.say("session_started", started, boot="b", seq=1)
    kit.say("samples_batch", {"samples": sent[:10]}, boot="b", seq=2)
    await asyncio.to_thread(kit.until, lambda: kit.acked("b") >= {1, 2})
    direct = httpx.post(f"{relay.http}/api/v1/sessions").json()["websocketUrl"]
    async with (
        Socket(f"{relay.ws}/ws/{kit.session}") as viewer,
        Socket(f"{direct}?role=patient") as patient,
        Socket(f"{direct}?role=viewer") as other,
    ):
        await other.status("viewer_connected")
        await patient.batch(sent[:10])
        for start in range(10, 400, 10):
            kit.say("samples_batch", {"samples": sent[start : start + 10]}, boot="b", seq=3 + start // 10)
            await patient.batch(sent[start : start + 10])
        by_kit = await viewer.points_until(EPOCH + 3990)
        by_socket = await other.points_until(EPOCH + 3990)
        assert [p["t"] for p in by_kit] == [p["t"] for p in by_socket]
        assert [p["az"] for p in by_kit] == pytest.approx([p["az"] for p in by_socket], abs=1e-3)
        assert (await viewer.status("viewer_connected"))["viewerCount"] == 1
        kit.say("session_ended", {"endedAt": "2025-07-21T14:31:00.000Z"}, boot="b", seq=99)
        await viewer.status("session_ended")
    await asyncio.to_thread(kit.until, lambda: 99 in kit.acked("b"))
    session = _session(relay, kit)
    assert session["samples"] == sent
    assert session["startedAt"] == "2025-07-21T14:30:00.123Z"
    assert session["endedAt"] == "2025-07-21T14:31:00.000Z"
    assert session["device"] == {"userAgent": "homeside/1", "platform": "Linux"}
    assert session["sensor"]["kind"] == "serial"


async def test_nobody_else_measures_in_a_kits_session(relay: RelayProgram, kit: Kit) -> None:
    """Two sources on one line would be one heart rate of two people."""
    sent = sine([EPOCH + 10 * k for k in range(10)])
    kit.say("samples_batch", {"samples": sent}, boot="b", seq=1)
    await asyncio.to_thread(kit.until, lambda: kit.acked("b") == {1})
    kit.client.publish(topic(kit.name, Lane.STATUS), '{"type":"status","payload":{"state":"offline"}}', qos=1)
    async with Socket(f"{relay.ws}/ws/{kit.session}?role=patient") as other:
        await other.batch(sent, boot="theirs", seq=1)
        assert (await other.message("error"))["payload"]["code"] == "SESSION_HAS_PATIENT"
        await other.send({"type": "device", "payload": {"userAgent": "mine", "unit": "g"}})
        assert (await other.message("error", 2))["payload"]["code"] == "SESSION_HAS_PATIENT"
    assert _session(relay, kit)["samples"] == sent
    assert _session(relay, kit)["unit"] == "m/s2"


def test_what_comes_again_is_acknowledged_again_and_stored_once(relay: RelayProgram, kit: Kit) -> None:
    sent = sine([EPOCH + 10 * k for k in range(10)])
    for lane in (Lane.LIVE, Lane.BACKFILL, Lane.BACKFILL):
        kit.say("samples_batch", {"samples": sent}, boot="b", seq=1, lane=lane)
    kit.say("samples_batch", {"samples": sent}, boot="other", seq=1)
    kit.until(lambda: kit.acked("b") == {1} and kit.acked("other") == {1})
    kit.say("samples_batch", {"samples": sent}, boot="b", seq=1)
    kit.until(lambda: len([a for a in kit.answers if a["payload"]["boot"] == "b"]) >= 2)
    assert len(_session(relay, kit)["samples"]) == 20


def test_backfill_is_stored_in_its_place_and_not_shown(relay: RelayProgram, kit: Kit) -> None:
    kit.say("samples_batch", {"samples": sine([EPOCH + 1000])}, boot="b", seq=2)
    kit.say("samples_batch", {"samples": sine([EPOCH])}, boot="b", seq=1, lane=Lane.BACKFILL)
    kit.until(lambda: kit.acked("b") == {1, 2})
    assert [s["t"] for s in _session(relay, kit)["samples"]] == [EPOCH, EPOCH + 1000]


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        ("samples_batch", {"samples": []}, "INVALID_MESSAGE"),
        ("samples_batch", {"samples": [{"t": "x", "az": 1}]}, "INVALID_MESSAGE"),
        ("what", {}, "UNKNOWN_TYPE"),
        ("session_ended", {"endedAt": "yesterday"}, "INVALID_MESSAGE"),
        ("session_ended", {"endedAt": "0001-01-01T00:00:00+14:00"}, "INVALID_MESSAGE"),
        ("session_started", {"startedAt": "2025-07-21T14:30:00Z", "unit": "x" * 99}, "INVALID_MESSAGE"),
        ("session_started", {"startedAt": "9999-12-31T23:59:59-14:00"}, "INVALID_MESSAGE"),
        ("session_started", {"startedAt": "2025-07-21T14:30:00Z", "unit": "furlongs"}, "INVALID_MESSAGE"),
        ("session_started", {"startedAt": "2025-07-21T14:30:00Z", "device": {"userAgent": "\0"}}, "INVALID_MESSAGE"),
    ],
)
def test_what_can_never_be_stored_is_refused_by_number(kit: Kit, kind: str, payload: dict, code: str) -> None:
    kit.say(kind, payload, boot="b", seq=7)
    kit.until(lambda: kit.answers)
    assert kit.answers[0]["type"] == "reject"
    assert {key: kit.answers[0]["payload"][key] for key in ("boot", "seq", "code")} == {
        "boot": "b",
        "seq": 7,
        "code": code,
    }


def test_another_kits_session_is_refused(relay: RelayProgram, kit: Kit) -> None:
    kit.say("samples_batch", {"samples": sine([EPOCH])}, boot="b", seq=1)
    kit.until(lambda: kit.acked("b"))
    thief = Kit(relay.mqtt_port, "bedside-02")
    assert thief.connected.wait(10)
    thief.session = kit.session
    thief.say("samples_batch", {"samples": sine([EPOCH + 10])}, boot="b", seq=1)
    thief.until(lambda: thief.answers)
    thief.close()
    assert thief.answers[0]["type"] == "reject"


def test_garbage_without_a_number_harms_nobody(relay: RelayProgram, kit: Kit) -> None:
    for body in (
        "",
        "{",
        b"\xff\xfe",
        "[]",
        '{"type":"samples_batch"}',
        '{"type":"samples_batch","seq":-1,"boot":"b"}',
        '{"type":"samples_batch","seq":1,"boot":"\\u0000"}',
        '{"type":"samples_batch","seq":1,"boot":"\\ud800"}',
        '{"type":"samples_batch","seq":1,"boot":"b","payload":{"a":NaN,"b":' + "9" * 40 + "}}",
    ):
        kit.raw(body)
    kit.raw("{", Lane.STATUS)
    kit.say("samples_batch", {"samples": [{"t": 1e308, "az": 1e308}]}, boot="b", seq=2)
    kit.say("samples_batch", {"samples": sine([EPOCH])}, boot="b", seq=1)
    kit.until(lambda: kit.acked("b") == {1, 2})


async def test_a_kit_that_goes_is_announced(relay: RelayProgram, kit: Kit) -> None:
    kit.say("samples_batch", {"samples": sine([EPOCH])}, boot="b", seq=1)
    await asyncio.to_thread(kit.until, lambda: kit.acked("b"))
    async with Socket(f"{relay.ws}/ws/{kit.session}") as viewer:
        await viewer.status("viewer_connected")
        kit.raw('{"type":"status","payload":{"state":"offline"}}', Lane.STATUS)
        await viewer.status("patient_disconnected")


@pytest.mark.parametrize("tls", [False, True])
def test_beyond_loopback_a_kit_needs_its_token_and_keeps_to_its_topics(tmp_path: Path, *, tls: bool) -> None:
    config = tmp_path / "relay.toml"
    config.write_text(f'[mqtt]\nhost = "0.0.0.0"\ntls = {str(tls).lower()}\n')
    relay = RelayProgram(tmp_path / "data", "--config", str(config))
    relay.hears_kits()
    assert bool(relay.child.events("kits_tokens_in_clear")) is not tls
    ca = relay.data / "tls" / "certificate.pem" if tls else None
    stranger = Kit(relay.mqtt_port, ca=ca)
    assert stranger.connected.wait(10)
    assert stranger.refused
    stranger.close()
    shown = token(relay.data, "--role", "kit", "--name", "bedside-01")
    kit = Kit(relay.mqtt_port, "bedside-01", password=shown, ca=ca)
    assert kit.connected.wait(10)
    assert not kit.refused
    kit.client.publish("homeside/v1/bedside-02/live", "{}", qos=1)
    kit.say("samples_batch", {"samples": sine([EPOCH])}, boot="b", seq=1)
    kit.until(lambda: kit.acked("b"))
    kit.close()
    assert relay.stop() == 0
    assert not relay.child.events("kit_message_refused")
