"""One sensor's events, over any transport: samples get times and go to the sink, replies go to whoever is waiting.

A sensor that speaks our protocol is identified, configured and pinged to measure the one-way delay, again every half
minute by default. Other families are configured by what is written when their connection opens.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import structlog

from agent.errors import CommandRefused
from agent.sources import EcgReading, SensorInfo, Sink
from agent.sources.timing import SampleTimes
from firmware_bridge import commands
from firmware_bridge.decoders import Counters, Ecg, Event, Identity, Pong, Reply, Samples
from firmware_bridge.errors import CommandError
from firmware_bridge.framing import Damaged
from firmware_bridge.protocol import Kind

log = structlog.get_logger(__name__)

ANSWER_WITHIN_S = 1.0
ATTEMPTS = 3
PINGS = 8
PING_APART_S = 0.06

Written = Callable[[int], None]
Write = Callable[[bytes, Written | None], None]
"""Sends a frame of ours; `Written` is called with the time just before it is sent, in host-monotonic ns."""


class Wanted(Protocol):
    """What the settings request of a sensor."""

    @property
    def rate_hz(self) -> float | None: ...

    @property
    def range_g(self) -> float | None: ...

    @property
    def ping_every_s(self) -> float: ...


class Sensing:
    """Lives as long as its source, so that clock and counts continue across reconnections. `where` is the name in logs.

    `ecg` receives the electrocardiogram of a sensor that sends one.
    """

    def __init__(
        self,
        where: str,
        wanted: Wanted,
        counters: Counters,
        tick_ns: float | None,
        ecg: Callable[[EcgReading], None] | None = None,
    ) -> None:
        self._ecg = ecg
        self.info: SensorInfo | None = None
        self.times = SampleTimes(tick_ns)
        self._where, self._wanted, self._counters = where, wanted, counters
        self._restarts = 0
        self._write: Write | None = None
        self._sink: Sink | None = None
        self._tokens = itertools.count(1)
        self._pings: dict[int, int] = {}
        self._identities: list[asyncio.Future[Identity]] = []
        self._replies: dict[int, asyncio.Future[Reply]] = {}

    def connected(self, sink: Sink, write: Write | None) -> None:
        """A connection was made. `write` is None for a sensor that does not take our commands."""
        self._sink, self._write = sink, write
        self.times.returned()

    def disconnected(self) -> None:
        self._write = None

    async def converse(self) -> None:
        """Identify, configure and then ping the sensor, while its samples arrive; never returns."""
        if await self._identity() is None:
            log.warning("sensor_does_not_answer", where=self._where)
            self.tell(SensorInfo("unknown", "unknown"))
        for kind, value in ((Kind.SET_RATE, self._wanted.rate_hz), (Kind.SET_RANGE, self._wanted.range_g)):
            if value is not None:
                await self._configure(kind, value)
        while True:
            await self._ping()
            await asyncio.sleep(self._wanted.ping_every_s)

    async def set_rate(self, hz: float) -> float:
        try:
            reply = await self._command(Kind.SET_RATE, commands.set_rate(hz))
        except CommandError as error:
            raise CommandRefused(str(error)) from None
        await self.identify()
        return reply.value

    async def set_range(self, g: float) -> float:
        try:
            return (await self._command(Kind.SET_RANGE, commands.set_range(g))).value
        except CommandError as error:
            raise CommandRefused(str(error)) from None

    async def identify(self) -> SensorInfo:
        found = await self._identity()
        if found is None:
            raise CommandRefused(f"the sensor on {self._where} does not answer")
        return found

    def tell(self, info: SensorInfo) -> None:
        self.info = info
        assert self._sink is not None
        self._sink.sensor(info)

    def figures(self) -> dict[str, Any]:
        counters = self._counters
        return {
            "frames": counters.frames,
            "samples": counters.samples,
            "lost": counters.lost,
            "restarts": counters.restarts,
            "damaged": sum(counters.damaged.values()),
        }

    def handle(self, event: Event) -> None:
        if isinstance(event, Samples):
            self._samples(event)
        elif isinstance(event, Pong):
            sent_ns = self._pings.pop(event.token, None)
            if sent_ns is not None:
                self.times.delay.pong(event.offset_ns(sent_ns), event.round_trip_ns(sent_ns), event.arrival_ns)
        elif isinstance(event, Ecg):
            self._beside(event)
        elif isinstance(event, Identity):
            self._identified(event)
        elif isinstance(event, Reply):
            self._replied(event)
        elif isinstance(event, Damaged):
            log.debug("frame_damaged", where=self._where, reason=event.reason.name)

    def _samples(self, packet: Samples) -> None:
        segment = self.times.segment
        if self._counters.restarts != self._restarts:
            self._restarts = self._counters.restarts
            self.times.restart()
        reading = self.times.reading(packet)
        if self.times.segment != segment:
            log.info("device_clock_restarted", where=self._where)
        if self.info is not None and (self.info.rate_hz, self.info.range_g) != (packet.rate_hz, packet.range_g):
            self.tell(self.info._replace(rate_hz=packet.rate_hz, range_g=packet.range_g))
        assert self._sink is not None
        self._sink.samples(reading)

    def _identified(self, identity: Identity) -> None:
        known = self.info if self.info is not None else SensorInfo("", "")
        self.tell(known._replace(name=identity.name, kind=identity.sensor))
        waiting, self._identities = self._identities, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(identity)

    def _beside(self, ecg: Ecg) -> None:
        if self._ecg is not None and (beside := self.times.beside(ecg)) is not None:
            self._ecg(beside)

    def _replied(self, reply: Reply) -> None:
        waiter = self._replies.get(reply.command)
        if waiter is not None and not waiter.done():
            waiter.set_result(reply)
        elif waiter is None and not reply.ok:
            log.warning("sensor_refused_setting", where=self._where, setting=reply.command, code=reply.code)

    async def _configure(self, kind: Kind, value: float) -> None:
        frame = commands.set_rate(value) if kind is Kind.SET_RATE else commands.set_range(value)
        try:
            await self._command(kind, frame)
        except CommandRefused as refused:
            log.warning("sensor_refused_setting", where=self._where, setting=kind.name.lower(), reason=str(refused))

    async def _identity(self) -> SensorInfo | None:
        for _ in range(ATTEMPTS):
            if self._write is None:
                return None
            waiter: asyncio.Future[Identity] = asyncio.get_running_loop().create_future()
            self._identities.append(waiter)
            self._write(commands.identify(), None)
            with suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    await waiter
                return self.info
        return None

    async def _command(self, kind: Kind, frame: bytes) -> Reply:
        if self._write is None:
            raise CommandRefused(f"no sensor that takes commands on {self._where} now")
        if kind in self._replies:
            raise CommandRefused(f"{kind.name.lower()} is under way already")
        waiter: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._replies[kind] = waiter
        try:
            self._write(frame, None)
            async with asyncio.timeout(ANSWER_WITHIN_S):
                reply = await waiter
        except TimeoutError:
            raise CommandRefused(f"the sensor on {self._where} does not answer {kind.name.lower()}") from None
        finally:
            del self._replies[kind]
        if not reply.ok:
            raise CommandRefused(f"the sensor refuses {kind.name.lower()}: code {reply.code}", code=reply.code)
        return reply

    async def _ping(self) -> None:
        """Send a burst of pings; the one with the shortest round trip counts."""
        self._pings.clear()
        for _ in range(PINGS):
            token = next(self._tokens) & commands.MAX_TOKEN
            if self._write is not None:
                self._write(commands.ping(token), partial(self._pings.__setitem__, token))
            await asyncio.sleep(PING_APART_S)
        await asyncio.sleep(ANSWER_WITHIN_S)
        delay = self.times.set_delay()
        if delay is not None:
            log.debug("one_way_delay", where=self._where, ms=round(delay / 1e6, 3))
