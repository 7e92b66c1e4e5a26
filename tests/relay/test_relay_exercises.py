"""Exercises that a kit sees: assigned, streamed over MQTT, stored, acknowledged, shown live; and what is refused."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import paho.mqtt.client as mqtt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from core.contracts.topics import Lane, topic
from tests.contract.care import BEGAN, Care, data_of, error_of
from tests.physio.squatting import frames
from tests.waiting import PATIENCE_S, comes

KIT = "bedside-07"


class Kit:
    """A kit at the relay's broker: says what it is told to say, and keeps what it hears."""

    def __init__(self, port: int, name: str = KIT) -> None:
        self.name, self.heard = name, list[dict[str, Any]]()
        self.boot, self.seq = uuid.uuid4().hex[:16], 0
        self.ready = False
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"homeside-{name}")
        self.client.on_connect = lambda client, *_: client.subscribe([(topic(name, lane), 1) for lane in Lane][3:])
        self.client.on_subscribe = lambda *_: setattr(self, "ready", True)
        self.client.on_message = lambda _c, _u, message: self.heard.append(json.loads(message.payload))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def say(self, session: str, body: dict[str, Any], *, lane: Lane = Lane.LIVE, seq: int | None = None) -> int:
        self.seq += seq is None
        number = seq or self.seq
        envelope = {"type": "pose_frames", "payload": body, "session": session, "boot": self.boot, "seq": number}
        self.client.publish(topic(self.name, lane), json.dumps(envelope), qos=1)
        return number

    def status(self, **sections: Any) -> None:
        body = {"type": "status", "payload": {"state": "online", **sections}}
        self.client.publish(topic(self.name, Lane.STATUS), json.dumps(body), qos=1)

    def commands(self, name: str) -> list[dict[str, Any]]:
        return [
            one["payload"]["args"] for one in self.heard if one["type"] == "command" and one["payload"]["name"] == name
        ]

    def acked(self, seq: int) -> bool:
        return any(a <= seq <= b for one in self.heard if one["type"] == "ack" for a, b in one["payload"]["seq"])

    def rejected(self, seq: int) -> str | None:
        found = [one["payload"] for one in self.heard if one["type"] == "reject" and one["payload"]["seq"] == seq]
        return f"{found[0]['code']}: {found[0]['message']}" if found else None

    async def until(self, there: Any, what: str) -> Any:
        return await comes(there, what)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="module")
def care(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Care]:
    running = Care(tmp_path_factory.mktemp("exercises"), "sqlite", None)
    running.relay.hears_kits()
    yield running
    assert running.relay.stop() == 0
    assert not running.relay.faults()


@pytest.fixture
async def kit(care: Care) -> Any:
    made = Kit(care.relay.mqtt_port)
    await made.until(lambda: made.ready, "its subscription")
    yield made
    made.close()


def assign(care: Care, session: str, name: str = KIT, by: str = "smith") -> Any:
    with care.as_(by) as client:
        return client.put(f"/api/sessions/{session}/kit", json={"kit": name})


def live_url(care: Care, session: str, who: str) -> str:
    token = care.sign_in(who)["access_token"]
    return f"ws://127.0.0.1:{care.relay.care_port}/api/sessions/{session}/live?token={token}"


def batch(session: str, part: list[dict[str, Any]], **live: Any) -> dict[str, Any]:
    return {"sessionId": session, "frames": part, "live": {"repetitions": 0, **live}}


async def test_frames_of_a_kit_are_stored_once_acknowledged_and_shown(care: Care, kit: Kit) -> None:
    session = care.create()["session_id"]
    body = data_of(assign(care, session))
    assert (body["kit"], body["exercise"], body["watching"]) == (KIT, "squat", True)
    await kit.until(lambda: {"session": session, "exercise": "squat"} in kit.commands("start_session"), "the command")
    made = frames(BEGAN, squats=2)
    async with connect(live_url(care, session, "smith")) as smith, connect(live_url(care, session, "john")) as john:
        assert json.loads(await smith.recv())["payload"]["watching"] is True
        await john.recv()
        last = kit.say(session, batch(session, made[:10], repetitions=3))
        for socket in (smith, john):
            shown = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
            assert shown["type"] == "pose"
            assert shown["payload"]["live"]["repetitions"] == 3
            assert [one["timestamp"] for one in shown["payload"]["frames"]] == [one["timestamp"] for one in made[:10]]
            assert len(shown["payload"]["frames"][0]["landmarks"]) == 33
        await smith.send('{"type":"ping","payload":{"sent":7.5}}')
        pong = json.loads(await asyncio.wait_for(smith.recv(), PATIENCE_S))
        assert (pong["type"], pong["payload"]["sent"]) == ("pong", 7.5)
        for noise in ("", "{}", "[1]", '{"type":"ping","payload":{}}', "\x00", '{"type":"pose","payload":{}}'):
            await smith.send(noise)
        last = kit.say(session, batch(session, made[10:]), lane=Lane.BACKFILL)
        kit.say(session, batch(session, made[:10]), seq=1)
        nobody = kit.say(session, batch(session, []))
        await kit.until(lambda: kit.acked(last) and kit.acked(nobody) and kit.acked(1), "acknowledgements")
    assert care.count(f"SELECT count(*) FROM pose_frames WHERE session_id = '{care.key(session)}'") == len(made)
    with care.as_("smith") as client:
        found = data_of(client.get(f"/api/sessions/{session}/timeline"))
        assert found["summary"]["repetitions"] == 2
        released = data_of(client.delete(f"/api/sessions/{session}/kit"))
    assert released["watching"] is False
    await kit.until(lambda: {"session": session} in kit.commands("end_session"), "the end")
    late = kit.say(session, batch(session, frames(BEGAN + 60_000, squats=0)))
    await kit.until(lambda: kit.acked(late), "what was seen before the end is still taken")


async def test_what_is_refused_is_named(care: Care, kit: Kit) -> None:
    session, other = care.create()["session_id"], care.create()["session_id"]
    data_of(assign(care, session))
    made = frames(BEGAN, squats=0)
    bad = {**made[0], "quality_score": 1.5}
    cases = {
        kit.say(other, batch(other, made[:1])): "INVALID_MESSAGE: This session is not for this kit",
        kit.say(session, batch("nonsense", made[:1])): "INVALID_MESSAGE: Expected a UUID",
        kit.say(session, batch(session, [bad])): "INVALID_MESSAGE: Expected `float` <= 1",
        kit.say(session, {"sessionId": session}): "INVALID_MESSAGE: Object missing required field `frames`",
        kit.say(session, batch(session, [], words="x" * 5000)): "INVALID_MESSAGE: Expected an object of at most",
    }
    for seq, words in cases.items():
        found = await kit.until(lambda seq=seq: kit.rejected(seq), words)
        assert found.startswith(words), found
    assert care.count(f"SELECT count(*) FROM pose_frames WHERE session_id = '{care.key(session)}'") == 0


async def test_nothing_is_recorded_without_consent_and_nothing_shown_to_strangers(care: Care, kit: Kit) -> None:
    session = care.create(patient="shy")["session_id"]
    assert error_of(assign(care, session), 403)["code"] == "CONSENT_REQUIRED"
    mine = care.create()["session_id"]
    assert error_of(assign(care, mine, by="other"), 404)["code"] == "NOT_FOUND"
    assert error_of(assign(care, mine, name="no/kit"), 400)["code"] == "VALIDATION_ERROR"
    with care.nobody() as client:
        error_of(client.get(f"/api/sessions/{mine}/kit"), 401)
    for url, code in (
        (live_url(care, mine, "other"), 4404),
        (live_url(care, str(uuid.uuid4()), "smith"), 4404),
        (live_url(care, mine, "smith").split("?")[0], 4401),
        (live_url(care, mine, "smith")[:-4], 4401),
    ):
        async with connect(url) as socket:
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == code


async def test_a_kit_that_forgot_is_reminded_and_viewers_hear_how_it_is(care: Care, kit: Kit) -> None:
    session = care.create()["session_id"]
    data_of(assign(care, session))
    await kit.until(lambda: kit.commands("start_session"), "the command")
    async with connect(live_url(care, session, "smith")) as smith:
        await smith.recv()
        kit.heard.clear()
        sections = {"vision": {"fps": 14.8, "model": "lite"}, "privacy": {"level": "blurred", "until": "later"}}
        kit.status(**sections, exercise={"session": None}, outbox={"bytes": 5})
        told = json.loads(await asyncio.wait_for(smith.recv(), PATIENCE_S))["payload"]
        assert told["online"] is True
        assert told["privacy"]["level"] == "blurred"
        assert "outbox" not in told
        await kit.until(lambda: {"session": session, "exercise": "squat"} in kit.commands("start_session"), "again")
        kit.heard.clear()
        kit.status(**sections, exercise={"session": session})
        await asyncio.sleep(0.3)
        assert kit.commands("start_session") == []


async def test_sockets_end_with_the_sign_in_they_were_opened_with(care: Care) -> None:
    """A screen left open in a practice shows nobody's patient once its user signed out or was dismissed."""
    session = care.create()["session_id"]
    timer = {"session_id": session, "sync_mode": "global", "total_time_ms": 60_000}
    signed_in = care.sign_in("smith")
    ws, token = f"ws://127.0.0.1:{care.relay.care_port}", signed_in["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    httpx.post(f"{care.relay.care}/v1/sessions", json=timer, headers=bearer).raise_for_status()
    async with (
        connect(f"{ws}/api/sessions/{session}/live?token={token}") as live,
        connect(f"{ws}/v1/sessions/{session}?token={token}") as timed,
        connect(live_url(care, session, "smith")) as another,
    ):
        httpx.post(f"{care.relay.care}/api/auth/logout", headers=bearer).raise_for_status()
        for socket in (live, timed):
            await asyncio.wait_for(socket.wait_closed(), PATIENCE_S)
            assert socket.close_code == 4401
        await another.send('{"type":"ping","payload":{"sent":1.5}}')
        told = [json.loads(await asyncio.wait_for(another.recv(), PATIENCE_S))["type"] for _ in range(2)]
        assert told == ["state", "pong"], "another sign-in of the same person goes on"


async def test_a_patient_takes_no_kit_out_of_another_home(care: Care, kit: Kit) -> None:
    """A kit's name is no secret: who could have any kit look could have another's home filmed, and agree to it."""
    hers, his = (care.create(patient=who, by="admin")["session_id"] for who in ("jane", "john"))
    assert error_of(assign(care, his, "kit-unseen", by="john"), 403)["code"] == "FORBIDDEN"
    data_of(assign(care, hers, by="admin"))
    assert error_of(assign(care, his, by="john"), 403)["code"] == "FORBIDDEN"
    assert not [one for one in kit.commands("start_session") if one["session"] == his]
    data_of(assign(care, his))
    data_of(assign(care, his, by="john"))
    data_of(assign(care, care.create()["session_id"], by="john"))
    error_of(assign(care, hers, by="jane"), 403)


async def test_a_kit_that_missed_the_end_is_told_again(care: Care, kit: Kit) -> None:
    session = care.create()["session_id"]
    data_of(assign(care, session))
    end = {"session": session}
    with care.as_("smith") as client:
        data_of(client.delete(f"/api/sessions/{session}/kit"))
    await kit.until(lambda: end in kit.commands("end_session"), "the end")
    kit.heard.clear()
    kit.status(exercise=end)
    await kit.until(lambda: end in kit.commands("end_session"), "the end told again")


async def test_only_the_patient_agrees_to_more(care: Care, kit: Kit) -> None:
    session = care.create()["session_id"]
    data_of(assign(care, session))

    def ask(who: str, **body: Any) -> Any:
        with care.as_(who) as client:
            return client.put(f"/api/sessions/{session}/privacy", json=body)

    assert error_of(ask("smith", level="clear", minutes=10), 403)["code"] == "FORBIDDEN"
    error_of(ask("john", level="naked", minutes=10), 400)
    error_of(ask("john", level="clear", minutes=1000), 400)
    data_of(ask("john", level="clear", minutes=10))
    data_of(ask("smith", level="skeleton"))
    found = await kit.until(lambda: len(kit.commands("set_privacy")) == 2 and kit.commands("set_privacy"), "both")
    assert [one["level"] for one in found] == ["clear", "skeleton"]
    assert found[0]["by"].startswith("patient ")


async def test_no_kit_goes_on_seeing_what_was_deleted_or_is_agreed_to_no_longer(care: Care) -> None:
    """A session deleted, a patient erased, a consent taken back: each kit is told to look no longer, and its frames
    are not taken any more."""
    ends = {"deleted": "john", "erased": "jane", "withdrawn": "shy"}
    with care.as_("shy") as client:
        data_of(client.put("/api/patients/profile", json={"consent_given": True}))
    kits = {why: Kit(care.relay.mqtt_port, f"kit-{why}") for why in ends}
    sessions = {why: care.create(patient=who, by="admin")["session_id"] for why, who in ends.items()}
    for why, kit in kits.items():
        await kit.until(lambda kit=kit: kit.ready, "its subscription")
        data_of(assign(care, sessions[why], kit.name, by="admin"))
        first = kit.say(sessions[why], batch(sessions[why], frames(BEGAN, squats=0)))
        await kit.until(lambda kit=kit, first=first: kit.acked(first), "its frames stored")
    with care.as_("admin") as client:
        data_of(client.delete(f"/api/sessions/{sessions['deleted']}"))
        data_of(client.delete(f"/api/patients/{care.patient_id('jane')}?confirm=jane@example.org"))
    with care.as_("shy") as client:
        data_of(client.put("/api/patients/profile", json={"consent_given": False}))
    for why, kit in kits.items():
        end = {"session": sessions[why]}
        await kit.until(lambda kit=kit, end=end: end in kit.commands("end_session"), f"the end of what was {why}")
        kit.heard.clear()
        late = kit.say(sessions[why], batch(sessions[why], frames(BEGAN + 60_000, squats=0)))
        refused = await kit.until(lambda kit=kit, late=late: kit.rejected(late), "late frames refused")
        assert refused.split(":")[0] == ("CONSENT_REQUIRED" if why == "withdrawn" else "INVALID_MESSAGE")
        if why != "withdrawn":
            await kit.until(
                lambda kit=kit, end=end: end in kit.commands("end_session"), "a kit that goes on told again"
            )
        kit.close()
    assert care.count("SELECT count(*) FROM session_kits WHERE ended_at IS NULL AND kit LIKE 'kit-%'") == 0
