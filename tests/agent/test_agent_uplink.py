"""The uplink against real brokers: live first, history paced, only the relay's ack counts, reconnects for ever."""

from __future__ import annotations

import asyncio
import signal
import time
from bisect import bisect
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from structlog.testing import capture_logs

from agent.uplink.pace import FIRST, LATE_S, MOST, Pace
from core.contracts.scg import message
from core.contracts.topics import Lane, topic
from tests.agent.kits import SESSION, Kit, running
from tests.agent.peers import Amqtt, Recorder
from tests.peers import Mosquitto, free_port
from tests.waiting import comes

Make = Callable[..., Recorder]


@pytest.fixture(params=["mosquitto", "amqtt"])
def broker(request: pytest.FixtureRequest) -> Mosquitto | Amqtt:
    found: Mosquitto | Amqtt = request.getfixturevalue(request.param)
    return found


async def test_live_is_delivered_and_settled(broker: Mosquitto | Amqtt, recorder: Make, tmp_path: Path) -> None:
    relay = await asyncio.to_thread(recorder, broker.url)
    async with running(Kit(broker.url, tmp_path, ack_timeout_s=60)) as kit:
        await comes(lambda: kit.uplink.connected)
        assert kit.uplink.protocol == ("5" if isinstance(broker, Mosquitto) else "3.1.1")
        kit.put(30)
        await comes(lambda: kit.outbox.figures.messages == 0 and len(relay.messages) == 30)
        assert set(relay.lanes.values()) == {Lane.LIVE}
        assert [seq for _, _, seq in relay.order] == list(range(1, 31))
        assert relay.copies == 0
        assert kit.uplink.problem is None
    states = [status["state"] for status in relay.status]
    assert states[0] == "online"
    await comes(lambda: relay.status[-1]["state"] == "offline")


async def test_puback_settles_nothing(mosquitto: Mosquitto, recorder: Make, tmp_path: Path) -> None:
    """The broker takes everything, the relay acknowledges nothing: it stays, goes to disk, and is sent again."""
    relay = await asyncio.to_thread(recorder, mosquitto.url, acks=False)
    async with running(Kit(mosquitto.url, tmp_path, ack_timeout_s=1.5)) as kit:
        kit.put(5)
        await comes(lambda: relay.copies >= 1, what="sent again")
        assert kit.outbox.figures.messages == 5
        assert kit.outbox._journal.state.messages == 5
        relay.acks = True
        await comes(lambda: kit.outbox.figures.messages == 0)
    assert len(relay.messages) == 5


async def test_history_comes_after_reconnecting(mosquitto: Mosquitto, recorder: Make, tmp_path: Path) -> None:
    relay = await asyncio.to_thread(recorder, mosquitto.url)
    async with running(Kit(mosquitto.url, tmp_path, ack_timeout_s=1)) as kit:
        kit.put(5)
        await comes(lambda: len(relay.messages) == 5)
        mosquitto.kill()
        await comes(lambda: not kit.uplink.connected)
        kit.put(200)
        await kit.outbox.commit()
        mosquitto.start()
        await comes(lambda: kit.uplink.connected and relay.ready.is_set())
        kit.put(5)
        await comes(lambda: kit.outbox.figures.messages == 0)
    await comes(lambda: len(relay.messages) == 210)
    assert [relay.lanes[SESSION, "b1", seq] for seq in (1, 100, 209)] == [Lane.LIVE, Lane.BACKFILL, Lane.LIVE]


async def test_earlier_boots_are_history_in_order(mosquitto: Mosquitto, recorder: Make, tmp_path: Path) -> None:
    before = Kit(mosquitto.url, tmp_path, "b0")
    await before.outbox.open()
    before.put(120)
    await before.outbox.close()
    relay = await asyncio.to_thread(recorder, mosquitto.url)
    async with running(Kit(mosquitto.url, tmp_path, "b1")) as kit:
        await comes(lambda: len(relay.messages) == 120)
        await comes(lambda: kit.outbox.figures.messages == 0)
    assert [key[1:] for key in relay.order] == [("b0", seq) for seq in range(1, 121)]


async def test_backlog_drains_fast_while_live_goes_ahead(mosquitto: Mosquitto, recorder: Make, tmp_path: Path) -> None:
    """Five minutes of backlog beside a live message every 100 ms. How long it takes, the soak of seven days says."""
    before = Kit(mosquitto.url, tmp_path, "b0")
    await before.outbox.open()
    for _ in range(300):
        before.put(10)
        await before.outbox.commit()
    await before.outbox.close()
    relay = await asyncio.to_thread(recorder, mosquitto.url)
    async with running(Kit(mosquitto.url, tmp_path, "b1")) as kit:
        await comes(lambda: kit.uplink.connected)
        put_at: dict[int, float] = {}
        while sum(key[1] == "b0" for key in list(relay.messages)) < 3000:
            assert len(put_at) < 1000, f"{len(relay.messages)} of 3000: no faster than it was recorded"
            kit.put()
            put_at[kit.outbox._seq] = time.time()
            await asyncio.sleep(0.1)
        await comes(lambda: kit.outbox.figures.messages == 0)
    old = sorted(at for key, at in relay.came.items() if key[1] == "b0")
    for seq, at in put_at.items():
        overtaken_by = bisect(old, relay.came[SESSION, "b1", seq]) - bisect(old, at)
        assert overtaken_by < 600, f"live message {seq} waited for {overtaken_by} old ones"


async def test_rejected_is_not_sent_again(mosquitto: Mosquitto, recorder: Make, tmp_path: Path) -> None:
    relay = await asyncio.to_thread(recorder, mosquitto.url, reject=lambda body: body["seq"] == 2)
    async with running(Kit(mosquitto.url, tmp_path, ack_timeout_s=0.5)) as kit:
        with capture_logs() as logs:
            kit.put(3)
            await comes(lambda: kit.outbox.figures.messages == 0)
        before = relay.copies  # of those whose acknowledgement was late
        await asyncio.sleep(0.8)
        assert relay.copies == before
        assert kit.outbox.figures.rejected == 1
    assert [entry["seq"] for entry in logs if entry["event"] == "message_rejected"] == [2]


async def test_last_will_says_offline(mosquitto: Mosquitto, recorder: Make, tmp_path: Path) -> None:
    relay = await asyncio.to_thread(recorder, mosquitto.url)
    async with running(Kit(mosquitto.url, tmp_path)) as kit:
        await comes(lambda: relay.status)
        assert kit.uplink._link is not None
        kit.uplink._link._client.socket().close()
        await comes(lambda: [s["state"] for s in relay.status][:2] == ["online", "offline"])
        await comes(lambda: relay.status[-1]["state"] == "online", what="and it is back by itself")


async def test_commands_reach_the_kit_and_garbage_does_not_hurt(
    mosquitto: Mosquitto, recorder: Make, tmp_path: Path
) -> None:
    relay = await asyncio.to_thread(recorder, mosquitto.url)
    async with running(Kit(mosquitto.url, tmp_path)) as kit:
        await comes(lambda: kit.uplink.connected)
        for body in (
            b"",
            b"\xff\xfe",
            b"[]",
            b'{"type":"command","payload":{"name":5}}',
            b'{"type":"ack"}',
            b"{" * 9000,
            b'{"type":"ack","payload":{"boot":"b1","seq":[[1],[1,2,3]]}}',
        ):
            relay._client.publish("homeside/v1/bed-7/command", body, qos=1)
            relay._client.publish("homeside/v1/bed-7/ack", body)
        relay._client.publish(
            "homeside/v1/bed-7/ack", b'{"type":"ack","payload":{"boot":"b1","seq":[[1,999999999999]]}}'
        )
        relay.command("bed-7", "set_rate", hz=200)
        await comes(lambda: kit.commands)
        assert kit.commands == [("set_rate", {"hz": 200})]
        assert kit.uplink.counts.malformed == 14
        kit.put(3)
        await comes(lambda: kit.outbox.figures.messages == 0)


async def test_relay_that_says_nothing_is_told(
    mosquitto: Mosquitto, recorder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.uplink.uplink.RELAY_SILENT_S", 0.5)
    relay = await asyncio.to_thread(recorder, mosquitto.url, acks=False)
    async with running(Kit(mosquitto.url, tmp_path, ack_timeout_s=0.5)) as kit:
        kit.put()
        await comes(lambda: "no relay acknowledges" in (kit.uplink.problem or ""))
        relay.acks = True
        await comes(lambda: kit.uplink.problem is None)
        assert kit.outbox.figures.messages == 0


async def test_broker_that_hangs_is_left(
    mosquitto: Mosquitto, recorder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped, not ended: connections stand, and nothing comes back on them."""
    monkeypatch.setattr("agent.uplink.uplink.BROKER_SILENT_S", 0.5)
    relay = await asyncio.to_thread(recorder, mosquitto.url)
    async with running(Kit(mosquitto.url, tmp_path)) as kit:
        await comes(lambda: kit.uplink.connected)
        assert mosquitto.child is not None
        mosquitto.child.signal(signal.SIGSTOP)
        try:
            kit.put()
            await comes(lambda: not kit.uplink.connected)
        finally:
            mosquitto.child.signal(signal.SIGCONT)
        await comes(lambda: kit.outbox.figures.messages == 0)
    assert len(relay.messages) == 1


async def test_name_used_twice_is_told(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with running(Kit(mosquitto.url, tmp_path / "one")) as first:
        await comes(lambda: first.uplink.connected)
        with capture_logs() as logs:
            async with running(Kit(mosquitto.url, tmp_path / "two", "b2")):
                await comes(lambda: [e for e in logs if e["event"] == "connections_keep_ending"])


async def test_unreachable_broker_is_told_once(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with running(Kit(f"mqtt://127.0.0.1:{free_port()}", tmp_path)) as kit:
            await comes(lambda: "cannot be reached" in (kit.uplink.problem or ""))
            kit.put(3)
            await asyncio.sleep(1.5)
    assert [entry["event"] for entry in logs].count("broker_unreachable") == 1


async def test_wrong_password_is_told(mosquitto_with: Callable[..., Mosquitto], tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    broker = mosquitto_with("allow_anonymous false", f"password_file {passwords}")
    async with running(Kit(broker.url, tmp_path, username="x", password="y")) as kit:
        await comes(lambda: "check broker.username" in (kit.uplink.problem or ""))


async def test_refused_publish_is_told_on_mqtt_5(mosquitto_with: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """An ACL that lets the kit publish nothing: MQTT 3.1.1 would say nothing at all."""
    rights = tmp_path / "rights"
    rights.write_text("topic read homeside/#\n")
    broker = mosquitto_with("allow_anonymous true", f"acl_file {rights}")
    async with running(Kit(broker.url, tmp_path)) as kit:
        kit.put()
        await comes(lambda: "Not authorized" in (kit.uplink.problem or ""))
        assert kit.outbox.figures.messages == 1


def test_pace_halves_when_live_is_late_and_grows_otherwise() -> None:
    pace = Pace()
    for _ in range(1000):
        pace.settled(1)
    assert pace.window == MOST
    pace.live_took(LATE_S * 2, now=10.0)
    pace.live_took(LATE_S * 2, now=10.5)
    assert pace.window == MOST / 2, "one decrease, then wait to see what it did"
    pace.settled(int(MOST / 2))
    assert MOST / 2 < pace.window <= MOST / 2 + 1, "from there on, one a round trip"
    pace.lost(now=20.0)
    assert pace.room(0) == 1
    assert pace.room(1) == 0
    pace.reset()
    assert pace.window == FIRST


async def test_a_command_the_broker_kept_is_not_carried_out(broker: Mosquitto | Amqtt, tmp_path: Path) -> None:
    """It would be at every connection: consent of last week, raised anew each night."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    await asyncio.to_thread(client.connect, "127.0.0.1", broker.port, 15)
    client.loop_start()
    kept = message("command", {"name": "set_privacy", "args": {"level": "clear", "minutes": 240, "by": "x"}})
    now = message("command", {"name": "identify", "args": {}})
    try:
        client.publish(topic("bed-7", Lane.COMMAND), kept, qos=1, retain=True).wait_for_publish(5)
        async with running(Kit(broker.url, tmp_path)) as kit:
            await comes(lambda: kit.uplink.connected)
            client.publish(topic("bed-7", Lane.COMMAND), now, qos=1)
            await comes(lambda: [name for name, _ in kit.commands] == ["identify"])
            assert kit.uplink.counts.malformed == 1
    finally:
        client.disconnect()
        client.loop_stop()
