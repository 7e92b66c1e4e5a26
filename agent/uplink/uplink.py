"""Between outbox and relay: live messages first, paced history beside them, each until the relay sends `ack`.

Reconnects forever with growing, jittered pauses. A message is in flight from its publish to the relay's
acknowledgement; after `ack_timeout_s`, or when the connection ends, it is sent again as history. The broker's PUBACK
only limits how many publishes may be outstanding.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from paho.mqtt.enums import MQTTProtocolVersion

from agent.errors import OutboxUnwritable, ProtocolRefused, SettingsError, UplinkError
from agent.outbox import Message, Outbox
from agent.process.backoff import Backoff
from agent.sections import Broker
from agent.uplink.link import V5, V311, Link
from agent.uplink.pace import Pace
from core.contracts.errors import ContractError
from core.contracts.scg import decode_envelope, decode_payload
from core.contracts.topics import Lane

log = structlog.get_logger(__name__)

LIVE_WINDOW = 64
"""Live messages awaiting the relay's ack, about 6 s of them. Later ones become history instead of queueing."""
BROKER_WINDOW = 128
"""Publishes awaiting the broker's PUBACK, unless it asks for fewer; a quarter is reserved for live messages."""
TICK_S = 0.25
REFILL_BLOCKS = 16
RETRY_FIRST_S, RETRY_MOST_S = 0.5, 30.0
STEADY_AFTER_S = 10.0
SHORT_IN_A_ROW = 3
RELAY_SILENT_S = 30.0
BROKER_SILENT_S = 30.0
FAREWELL_S = 0.7


class _Ack(msgspec.Struct):
    boot: str
    seq: list[tuple[int, int]]


class _Reject(msgspec.Struct):
    boot: str
    seq: int
    code: str = ""
    message: str = ""


class _Command(msgspec.Struct):
    name: str
    args: dict[str, Any] = {}


@dataclass(slots=True)
class _Flight:
    message: Message
    lane: Lane
    sent: float


@dataclass(slots=True)
class Counts:
    """Counts since this start, for status."""

    connections: int = 0
    sent: int = 0
    sent_again: int = 0
    acknowledged: int = 0
    refused_by_broker: int = 0
    malformed: int = 0


class Uplink:
    """`run` until `stop`. `status(state)` returns the body for the status lane."""

    def __init__(
        self,
        broker: Broker,
        kit: str,
        outbox: Outbox,
        *,
        status: Callable[[str], bytes],
        command: Callable[[str, dict[str, Any]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = Counts()
        self.problem: str | None = "not connected yet"
        """Why nothing is delivered, in a sentence; None while all is well."""
        self._broker, self._kit, self._outbox = broker, kit, outbox
        self._status, self._command, self._clock = status, command, clock
        self._pace = Pace()
        self._link: Link | None = None
        self._version: MQTTProtocolVersion | None = None
        """The broker's version of MQTT; None until known."""
        self._flights: dict[tuple[str, int], _Flight] = {}
        self._flying = {Lane.LIVE: 0, Lane.BACKFILL: 0}
        self._untaken: dict[int, float] = {}
        self._heard = 0.0
        self._short = 0
        self._stopping = False

    @property
    def connected(self) -> bool:
        return self._link is not None and self._link.is_open

    @property
    def protocol(self) -> str | None:
        """The version of MQTT in use; None until a broker has answered."""
        return None if self._version is None else "5" if self._version == V5 else "3.1.1"

    async def run(self) -> None:
        backoff = Backoff(RETRY_FIRST_S, RETRY_MOST_S)
        while not self._stopping:
            try:
                link = await self._connect()
            except (UplinkError, SettingsError) as error:
                pause = backoff.next()
                if isinstance(error, ProtocolRefused):
                    self._version = None
                self._troubled(error.code, str(error), pause)
            else:
                began = self._clock()
                await self._serve(link)
                if self._lasted(self._clock() - began):
                    backoff.reset()
                pause = backoff.next()
            await self._sleep(pause)

    def stop(self) -> None:
        """Publish `offline`, disconnect in order and let `run` return, within FAREWELL_S when connected."""
        self._stopping = True
        self._outbox.wake.set()

    def publish_status(self) -> None:
        """Publish the current status, retained; does nothing while disconnected."""
        if self._link is not None and self._link.is_open:
            self._publish(self._link, Lane.STATUS, self._status("online"), retain=True)

    def on_taken(self, mid: int, refused: str | None) -> None:
        self._untaken.pop(mid, None)
        if refused is not None:
            self.counts.refused_by_broker += 1
            if self.counts.refused_by_broker == 1:
                log.error("publish_refused", reason=refused, remedy="let this kit publish below its own name")
            self.problem = f"the broker refuses what this kit publishes: {refused}"
        self._outbox.wake.set()

    def on_message(self, lane: Lane, body: bytes, *, retained: bool = False) -> None:
        """Handle a message from the relay. Retained commands are ignored: they would be carried out again at every
        connection.
        """
        if retained and lane is Lane.COMMAND:
            self.counts.malformed += 1
            log.warning("retained_command_ignored", remedy="publish commands without retain, and clear this one")
            return
        try:
            envelope = decode_envelope(body)
            if envelope.type == "ack" and lane is Lane.ACK:
                self._acknowledged(decode_payload(envelope.payload, _Ack))
            elif envelope.type == "reject" and lane is Lane.ACK:
                self._rejected(decode_payload(envelope.payload, _Reject))
            elif envelope.type == "command" and lane is Lane.COMMAND:
                command = decode_payload(envelope.payload, _Command)
                self._command(command.name, command.args)
            else:
                self.counts.malformed += 1
        except ContractError as error:
            self.counts.malformed += 1
            log.warning("message_from_relay_malformed", lane=lane.value, reason=str(error))

    def on_closed(self, reason: str) -> None:
        log.warning("broker_lost", reason=reason)
        self.problem = f"connection lost: {reason}"
        self._outbox.wake.set()

    def _lasted(self, seconds: float) -> bool:
        """Whether the connection lasted. Connections that keep ending early suggest a second client of the same name:
        brokers then disconnect the earlier one, mostly without saying why.
        """
        self._short = 0 if seconds > STEADY_AFTER_S else self._short + 1
        if self._short == SHORT_IN_A_ROW and not self._stopping:
            log.error("connections_keep_ending", kit=self._kit, remedy="is another agent running under this name?")
        return self._short == 0

    async def _connect(self) -> Link:
        if self._version is None:
            self._version = V5 if await Link.speaks_5(self._broker, self._kit) else V311
        return await Link.open(self._broker, self._kit, self._version, listener=self, will=self._status("offline"))

    async def _serve(self, link: Link) -> None:
        self.counts.connections += 1
        log.info("broker_connected", host=self._broker.host, port=self._broker.port, mqtt=self.protocol)
        self.problem = None
        self._link, self._heard = link, self._clock()
        self._pace.reset()
        self._untaken.clear()
        try:
            self.publish_status()
            while link.is_open and not self._stopping:
                self._outbox.wake.clear()
                self._pump(link)
                self._expire(link)
                if not await self._refill():
                    await self._sleep(TICK_S)
            if link.is_open:
                await self._farewell(link)
        finally:
            self._link = None
            link.abort()
            self._ground(list(self._flights.values()))

    def _pump(self, link: Link) -> None:
        limit = min(link.in_flight_limit, BROKER_WINDOW)
        while len(self._untaken) < limit and self._flying[Lane.LIVE] < LIVE_WINDOW:
            if (message := self._outbox.next_live()) is None:
                break
            self._send(link, message, Lane.LIVE)
        room = self._pace.room(self._flying[Lane.BACKFILL])
        while room > 0 and len(self._untaken) < max(1, limit * 3 // 4):
            if (message := self._outbox.next_due()) is None:
                break
            self._send(link, message, Lane.BACKFILL)
            room -= 1

    def _send(self, link: Link, message: Message, lane: Lane) -> None:
        self._flights[message.key] = _Flight(message, lane, self._clock())
        self._flying[lane] += 1
        self.counts.sent += 1
        self._publish(link, lane, message.body)

    def _publish(self, link: Link, lane: Lane, body: bytes, *, retain: bool = False) -> int:
        mid = link.publish(lane, body, retain=retain)
        self._untaken[mid] = self._clock()
        return mid

    async def _refill(self) -> bool:
        """Load history from disk; returns whether there is now more to send at once."""
        if self._outbox.due >= self._pace.window or not self._outbox.has_more:
            return False
        try:
            await self._outbox.refill(REFILL_BLOCKS)
        except OutboxUnwritable as error:
            log.warning("outbox_unreadable", reason=str(error))
            return False
        return self._pace.room(self._flying[Lane.BACKFILL]) > 0 and self._outbox.due > 0

    def _expire(self, link: Link) -> None:
        now = self._clock()
        late = [flight for flight in self._flights.values() if now - flight.sent > self._broker.ack_timeout_s]
        if late:
            self._pace.lost(now)
            self.counts.sent_again += len(late)
            self._ground(late)
        if self._flights and now - self._heard > RELAY_SILENT_S and self.problem is None:
            self.problem = (
                "connected to the broker, but no relay acknowledges; is it running, may it publish to this kit?"
            )
            log.warning("relay_silent", seconds=round(now - self._heard))
        oldest = next(iter(self._untaken.values()), now)
        if now - oldest > BROKER_SILENT_S:
            log.warning("broker_silent", seconds=round(now - oldest))
            link.abort()

    def _ground(self, flights: list[_Flight]) -> None:
        for flight in flights:
            del self._flights[flight.message.key]
            self._flying[flight.lane] -= 1
        self._outbox.grounded(flight.message for flight in flights)

    def _land(self, message: Message) -> None:
        flight = self._flights.pop(message.key, None)
        if flight is None:
            return
        self._flying[flight.lane] -= 1
        now = self._clock()
        if flight.lane is Lane.LIVE:
            self._pace.live_took(now - flight.sent, now)
        else:
            self._pace.settled(1)

    def _acknowledged(self, ack: _Ack) -> None:
        settled = self._outbox.acked(ack.boot, [list(pair) for pair in ack.seq])
        for message in settled:
            self._land(message)
        self.counts.acknowledged += len(settled)
        self._hear()

    def _rejected(self, reject: _Reject) -> None:
        message = self._outbox.refused(reject.boot, reject.seq, reject.code, reject.message, int(time.time() * 1000))
        if message is not None:
            self._land(message)
            log.error("message_rejected", boot=reject.boot, seq=reject.seq, code=reject.code, reason=reject.message)
        self._hear()

    def _hear(self) -> None:
        self._heard = self._clock()
        if self.problem is not None and self.connected:
            log.info("relay_heard")
            self.problem = None
        self._outbox.wake.set()

    def _troubled(self, code: str, text: str, pause: float) -> None:
        """Log a reason only when it changes, so that a night without network does not fill the journal."""
        if self.problem != text:
            log.warning(code.lower(), reason=text, retry_s=round(pause, 1))
        self.problem = text

    async def _farewell(self, link: Link) -> None:
        mid = self._publish(link, Lane.STATUS, self._status("offline"), retain=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S / 2):
                while mid in self._untaken and link.is_open:
                    self._outbox.wake.clear()
                    await self._outbox.wake.wait()
        await link.close(FAREWELL_S / 2)

    async def _sleep(self, seconds: float) -> None:
        """Wait until the outbox has something new, or for so long; while disconnected only `stop` ends the
        wait early.
        """
        deadline = self._clock() + seconds
        while not self._stopping and (left := deadline - self._clock()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._outbox.wake.wait()
            if self.connected:
                return
            self._outbox.wake.clear()
