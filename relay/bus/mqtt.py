"""The bus between kits and the relay. One small interface; its body here is an MQTT broker, embedded or by URL.

Reconnects for ever. What kits send is lost here only to be sent again, for they keep it until the relay's own
acknowledgement; what goes to kits waits in a bounded queue, and what that cannot hold is dropped and counted.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import aiomqtt
import structlog

from core.contracts import topics
from core.contracts.topics import FROM_KITS, Lane
from relay.errors import SettingsError
from relay.process.metrics import Metrics
from relay.process.supervisor import heed_cancellation

QUEUE = 10_000
INCOMING = 20_000
"""Messages paho may hold before the relay has looked at them; the kits send again what falls out."""
RETRY_FIRST_S, RETRY_MOST_S = 0.2, 10.0

Settled = Callable[[], None]
"""What a bus that keeps messages wants called once one is committed, or refused for good."""


class Receive(Protocol):
    """Takes a message of a kit's lane (relay.bus.switchboard.Switchboard.receive)."""

    def __call__(self, kit: str, lane: Lane, data: bytes, settled: Settled | None = None) -> Awaitable[None]: ...


log = structlog.get_logger(__name__)


class Bus(Protocol):
    """What the APIs see of it."""

    connected: asyncio.Event

    def publish(self, topic: str, payload: bytes) -> None:
        """To a kit, at QoS 0. Never waits."""
        ...

    async def run(self, receive: Receive) -> None:
        """Hand over what kits send, for ever."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker is. TLS and WebSocket transport by the scheme: mqtt, mqtts, ws, wss.

    `trusted` is the relay's own certificate, by which it knows its own broker, under whatever name that was issued.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls: bool = False
    websocket: bool = False
    path: str | None = None
    trusted: Path | None = None


_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


def parse_address(url: str) -> Address:
    """A broker's URL taken apart. Raises SettingsError, saying what a good one looks like."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"mqtt.url: {error}") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise SettingsError(f"mqtt.url: {parts.scheme}://… is no broker's; expected mqtt://[user:password@]host[:port]")
    return Address(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=parts.scheme in ("mqtts", "wss"),
        websocket=parts.scheme in ("ws", "wss"),
        path=parts.path or None,
    )


class MqttBus:
    """MQTT 3.1.1, which every broker here speaks. `run` connects and hands over what comes; `publish` never waits."""

    def __init__(self, address: Address, metrics: Metrics) -> None:
        self._address = address
        self._metrics = metrics
        self._outgoing: deque[tuple[str, bytes]] = deque()
        self._work = asyncio.Event()
        self.connected = asyncio.Event()

    def publish(self, topic: str, payload: bytes) -> None:
        """Queue a message at QoS 0: acknowledgements, repeated when the kit sends again."""
        if len(self._outgoing) >= QUEUE:
            self._outgoing.popleft()
            self._metrics.bus_dropped.inc()
        self._outgoing.append((topic, payload))
        self._work.set()

    async def run(self, receive: Receive) -> None:
        delay = RETRY_FIRST_S
        while True:
            try:
                async with self._client() as client, asyncio.TaskGroup() as group:
                    for lane in FROM_KITS:
                        await client.subscribe(topics.subscription(lane), qos=1)
                    self._heard(connected=True)
                    delay = RETRY_FIRST_S
                    group.create_task(self._send(client))
                    await self._listen(client, receive)
            except* (aiomqtt.MqttError, OSError) as lost:
                self._heard(connected=False)
                log.warning("bus_lost", error=str(lost.exceptions[0]), retry_s=round(delay, 1))
            heed_cancellation()
            await asyncio.sleep(delay * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret
            delay = min(delay * 2, RETRY_MOST_S)

    async def _listen(self, client: aiomqtt.Client, receive: Receive) -> None:
        async for message in client.messages:
            topic = topics.parse(message.topic.value)
            if topic is not None and isinstance(message.payload, bytes | bytearray):
                await receive(topic.kit, topic.lane, bytes(message.payload))

    async def _send(self, client: aiomqtt.Client) -> None:
        """What waited for a broker goes first; a message that the connection took with it goes again on the next."""
        while True:
            while self._outgoing:
                topic, payload = self._outgoing.popleft()
                try:
                    await client.publish(topic, payload, qos=0)
                except aiomqtt.MqttError:
                    self._outgoing.appendleft((topic, payload))
                    raise
            self._work.clear()
            await self._work.wait()

    def _heard(self, *, connected: bool) -> None:
        self._metrics.bus_connected.set(int(connected))
        if connected:
            self.connected.set()
            log.info("bus_connected", host=self._address.host, port=self._address.port)
        else:
            self.connected.clear()

    def _client(self) -> aiomqtt.Client:
        where = self._address
        return aiomqtt.Client(
            where.host,
            where.port,
            username=where.username,
            password=where.password,
            transport="websockets" if where.websocket else "tcp",
            websocket_path=where.path if where.websocket else None,
            tls_params=aiomqtt.TLSParameters(ca_certs=str(where.trusted) if where.trusted else None)
            if where.tls
            else None,
            tls_insecure=True if where.trusted else None,
            keepalive=15,
            timeout=10,
            max_queued_incoming_messages=INCOMING,
        )
