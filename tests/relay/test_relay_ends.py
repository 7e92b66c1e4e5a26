"""A relay told to end does end, also when something fails at the same moment."""

from __future__ import annotations

import asyncio
from itertools import count

import paho.mqtt.publish

from core.contracts.topics import Lane, topic
from relay.bus.mqtt import MqttBus, Settled, parse_address
from relay.process.metrics import Metrics
from relay.process.supervisor import supervise
from tests.peers import Mosquitto
from tests.waiting import PATIENCE_S


async def test_a_bus_that_is_lost_as_it_is_told_to_end_does_not_connect_again(mosquitto: Mosquitto) -> None:
    bus = MqttBus(parse_address(mosquitto.url), Metrics())

    async def receive(_kit: str, _lane: Lane, _data: bytes, _settled: Settled | None = None) -> None:
        task.cancel()
        raise OSError("gone")

    task = asyncio.create_task(bus.run(receive))
    await asyncio.wait_for(bus.connected.wait(), PATIENCE_S)
    where = {"hostname": "127.0.0.1", "port": mosquitto.port}
    await asyncio.to_thread(paho.mqtt.publish.single, topic("kit", Lane.LIVE), b"x", qos=1, **where)
    await asyncio.wait([task], timeout=PATIENCE_S)
    assert task.cancelled()


async def test_a_duty_that_fails_as_it_is_told_to_end_is_not_begun_again() -> None:
    attempts = count()

    async def duty() -> None:
        next(attempts)
        task.cancel()
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(3600))
            raise OSError("gone")

    task = asyncio.create_task(supervise("x", duty))
    await asyncio.wait([task], timeout=PATIENCE_S)
    assert task.cancelled()
    assert next(attempts) == 1
