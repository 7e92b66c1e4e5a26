"""The embedded broker hands every message to all who had subscribed, whoever comes and goes meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from amqtt.broker import Broker
from amqtt.contexts import Action, BrokerConfig, ListenerConfig, ListenerType
from amqtt.plugins.base import BaseTopicPlugin
from amqtt.session import Session

from relay.bus.filters import steady
from tests.peers import free_port
from tests.trust.attackers import Client
from tests.waiting import until

MESSAGES = 400


class Thoughtful(BaseTopicPlugin):  # type: ignore[misc]
    """Lets everybody read everything, and lets others have the loop while it thinks."""

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        await asyncio.sleep(0.002)
        return True


@pytest.fixture
async def port() -> AsyncIterator[int]:
    port = free_port()
    inner = ListenerConfig(type=ListenerType.TCP, bind=f"127.0.0.1:{port}")
    plugins: dict[str, dict[str, Any]] = {
        "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
        f"{__name__}.{Thoughtful.__name__}": {},
    }
    broker = steady(Broker(BrokerConfig(listeners={"default": inner}, plugins=plugins)))
    await broker.start()
    yield port
    await broker.shutdown()


def _comes_and_goes(port: int) -> None:
    """Subscribers on both sides of the one who listens, while messages go out."""
    restless = [Client(port, f"early-{number}") for number in range(3)]
    assert all(client.admitted() for client in restless)
    for client in restless:
        assert client.subscribe("kits/+")
    listener, sender = Client(port, "listener"), Client(port, "sender")
    assert listener.admitted()
    assert sender.admitted()
    assert listener.subscribe("kits/+")
    for number in range(MESSAGES):
        sender.client.publish(f"kits/{number}", b"x", qos=1)
        if number % 4 == 0:
            client = restless[number // 4 % 3]
            client.client.unsubscribe("kits/+")
            client.client.subscribe([(f"other/{number}", 1), ("kits/+", 1)])
    until(lambda: len({topic for topic, _ in listener.got}) == MESSAGES)
    for client in (*restless, listener, sender):
        client.client.disconnect()
        client.client.loop_stop()


async def test_nobody_is_passed_over_while_others_come_and_go(port: int) -> None:
    await asyncio.to_thread(_comes_and_goes, port)
