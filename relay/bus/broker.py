"""The broker inside the relay (amqtt, MQTT 3.1.1), so that a single box needs nothing else installed.

Every CONNECT is read here before amqtt sees it: a client that is not admitted never reaches amqtt. An admitted one gets
the name it proved and a client id that nobody else can take. This module also enforces the bounds per address and kit,
keeps kits from other kits' messages, and drops clients that lose trust. On loopback without TLS it is open to all.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action, BrokerConfig, ListenerConfig, ListenerType
from amqtt.errors import AMQTTError
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from relay.bus.filters import steady
from relay.bus.gate import RELAY_USER, Gate
from relay.bus.mqtt import Address
from relay.bus.packets import (
    LEVEL_311,
    NOT_AUTHORIZED,
    UNAVAILABLE,
    BadPacket,
    Connect,
    read_connect,
    refusal,
    topic_of,
)
from relay.entrance.certificates import Shown, shown_by
from relay.entrance.porter import Places, Porter, Room, bind
from relay.errors import PortBusy
from relay.process.metrics import Metrics

CONNECT_WITHIN_S = 10.0
"""A client that has not sent its CONNECT by then is disconnected."""
CONNECT_BYTES = 65_536
LISTENER = "default"
_MODULE = __name__

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DoorBounds:
    """Bounds against one sender that would take every connection, or all the time."""

    per_address: int = 2_000
    per_kit: int = 4
    packet_bytes: int = 1_048_576
    bytes_per_s: int = 4 * 1_048_576


class AtTheDoor(BaseAuthPlugin):  # type: ignore[misc]
    """amqtt requires an authentication plugin; every client that gets this far was admitted already."""

    @dataclass
    class Config:
        gate: Any = None

    async def authenticate(self, *, session: Session) -> bool:
        return True


class KitTopics(BaseTopicPlugin):  # type: ignore[misc]
    """Asks the gate at every SUBSCRIBE and PUBLISH."""

    @dataclass
    class Config:
        gate: Any = None

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        gate: Gate = self.config.gate
        if session is None or topic is None or action is None:
            return True
        return gate.reaches(session.username, topic, action)


class _Reader(StreamReaderAdapter):  # type: ignore[misc]
    """The rewritten CONNECT, then the client's stream; refuses packets that are too long, and limits the byte rate."""

    def __init__(self, reader: asyncio.StreamReader, first: bytes, bounds: DoorBounds) -> None:
        super().__init__(reader)
        self._first = first
        self._bounds = bounds
        self._ahead_s = 0.0

    async def read(self, n: int = -1) -> bytes:
        if self._first:
            taken, self._first = self._first[:n], self._first[n:]
            return taken
        if n > self._bounds.packet_bytes:
            log.warning("kit_packet_too_long", bytes=n)
            raise asyncio.IncompleteReadError(b"", n)
        data: bytes = await super().read(n)
        await self._pace(len(data))
        return data

    async def _pace(self, size: int) -> None:
        """A leaky bucket one second deep: a faster sender is read more slowly, and loses nothing."""
        now = asyncio.get_running_loop().time()
        self._ahead_s = max(self._ahead_s, now) + size / self._bounds.bytes_per_s
        if (wait := self._ahead_s - now - 1.0) > 0:
            await asyncio.sleep(wait)


class _Writer(StreamWriterAdapter):  # type: ignore[misc]
    """Holds back messages that the client may not read: amqtt does not check this for retained messages."""

    def __init__(self, writer: asyncio.StreamWriter, gate: Gate, name: str) -> None:
        super().__init__(writer)
        self._gate = gate
        self._name = name

    def write(self, data: bytes) -> None:
        topic = topic_of(data)
        if topic is None or self._gate.reaches(self._name, topic, Action.RECEIVE):
            super().write(data)


@dataclass(eq=False, slots=True)
class _Guest:
    """An admitted connection."""

    name: str
    client_id: str
    shown: Shown | None
    since_s: float
    writer: asyncio.StreamWriter


class EmbeddedBroker:
    """amqtt behind our own port. `start` raises PortBusy when another program has the port."""

    def __init__(
        self,
        host: str,
        port: int,
        gate: Gate,
        tls: tuple[ssl.SSLContext, Path] | None = None,
        bounds: DoorBounds | None = None,
        metrics: Metrics | None = None,
        room: Room | None = None,
    ) -> None:
        """`tls`: the TLS context for kits, and the certificate by which the relay itself recognises its broker."""
        self._host = host
        self._tls = tls
        self._port = port or _free_port(host)
        self._gate = gate
        self._bounds = bounds or DoorBounds()
        self._metrics = metrics or Metrics()
        self._broker: Broker | None = None
        self._porter: Porter | None = None
        self._guests: set[_Guest] = set()
        self._room = room
        gate.standing.listen(self.sweep)

    @property
    def address(self) -> Address:
        """How the relay itself connects to the broker."""
        host = "127.0.0.1" if self._host in ("", "0.0.0.0", "::") else self._host  # noqa: S104 - a comparison
        return Address(
            host=host,
            port=self._port,
            username=RELAY_USER,
            password=self._gate.relay_password,
            tls=self._tls is not None,
            trusted=self._tls[1] if self._tls else None,
        )

    async def start(self) -> None:
        plugins = {f"{_MODULE}.{plugin.__name__}": {"gate": self._gate} for plugin in (AtTheDoor, KitTopics)}
        inner = ListenerConfig(type=ListenerType.EXTERNAL, bind=f"{self._host}:{self._port}")
        self._broker = steady(Broker(BrokerConfig(listeners={LISTENER: inner}, plugins=plugins)))
        if self._tls is None and not self._gate.open:
            log.warning("kits_tokens_in_clear", host=self._host, remedy="set tls = true in [mqtt]")
        try:
            await self._broker.start()
            places, tls = Places(self._bounds.per_address, self._room), self._tls[0] if self._tls else None
            bound = bind(self._host, self._port)
            self._porter = Porter(bound, places, self._metrics, self._door, tls=tls, answers=False)
        except (AMQTTError, OSError) as error:
            raise PortBusy(
                f"port {self._port} for kits (MQTT) cannot be had: {error}. "
                "End the program that has it, choose another with --mqtt-port, or name that broker in mqtt.url."
            ) from error
        log.info("broker_started", host=self._host, port=self._port, open=self._gate.open, tls=self._tls is not None)

    async def stop(self) -> None:
        if self._porter is not None:
            self._porter.close()
            self._porter = None
        for guest in self._guests:
            guest.writer.close()
        if self._broker is not None:
            await self._broker.shutdown()
            self._broker = None

    def sweep(self) -> None:
        """Disconnect at once every client that has lost trust."""
        for guest in list(self._guests):
            if not self._gate.still_trusts(guest.name, guest.shown, guest.since_s):
                log.warning("kit_dropped", kit=guest.name, reason="revoked")
                self._metrics.kits_dropped.inc()
                guest.writer.transport.abort()

    def _door(self, leave: Callable[[], None]) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), partial(self._arrived, leave))

    async def _arrived(
        self, leave: Callable[[], None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        address = str((writer.get_extra_info("peername") or ("",))[0])
        try:
            await self._admit(reader, writer, address)
        except (BadPacket, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            log.info("kit_connection_ended", address=address, reason=str(error) or type(error).__name__)
        finally:
            leave()
            writer.close()

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            said = await read_connect(reader.readexactly, CONNECT_BYTES)
        shown = shown_by(writer.get_extra_info("ssl_object"))
        if said.level != LEVEL_311:
            writer.write(refusal(said.level, 1))
            return
        name = self._gate.admits(said, shown)
        if name is None:
            claimed = shown.kit if shown else said.username or ""
            log.warning("kit_refused", kit=claimed[:64], address=address, by="certificate" if shown else "token")
            self._metrics.kits_refused.labels("not_trusted").inc()
            writer.write(refusal(said.level, NOT_AUTHORIZED))
            return
        await self._seat(said, _Guest(name, self._own_id(name, said), shown, self._now_s(), writer), reader)

    async def _seat(self, said: Connect, guest: _Guest, reader: asyncio.StreamReader) -> None:
        """Hand the connection to amqtt; an older connection of the same client id is dropped (MQTT-3.1.4-2)."""
        mine = [other for other in self._guests if other.name == guest.name and guest.name]
        for other in mine:
            if other.client_id == guest.client_id:
                other.writer.transport.abort()
        if guest.name != RELAY_USER and not self._gate.open and len(mine) >= self._bounds.per_kit:
            log.warning("kit_has_too_many_connections", kit=guest.name, connections=len(mine))
            self._metrics.kits_refused.labels("kit_full").inc()
            guest.writer.write(refusal(said.level, UNAVAILABLE))
            return
        first = said.admitted(guest.name or None, guest.client_id).packet()
        broker = self._broker
        if broker is None:
            return
        self._guests.add(guest)
        try:
            inner = _Writer(guest.writer, self._gate, guest.name)
            await broker.external_connected(_Reader(reader, first, self._bounds), inner, LISTENER)
        finally:
            self._guests.discard(guest)

    def _own_id(self, name: str, said: Connect) -> str:
        """The client id with the client's name before it.

        No kit's name contains a slash, so ids of two names never collide.
        """
        if self._gate.open and name != RELAY_USER:
            return said.client_id
        return f"{name}/{said.client_id or secrets.token_hex(8)}"

    def _now_s(self) -> float:
        return self._gate.clock.now_ms() / 1000


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host or "127.0.0.1", 0))
        return int(probe.getsockname()[1])
