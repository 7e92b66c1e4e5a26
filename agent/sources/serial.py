"""Our own sensors on a serial line: frames to samples with times, and what the sensor is asked on the way.

At connect the sensor is asked who it is, set as configured, and pinged a few times for the one-way delay; pinged
again each half minute. What ends the port (unplugged, silent) ends `run`, and the supervisor opens it again; the
decoder stays, so that what was missed meanwhile is counted.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import structlog

from agent.errors import CommandRefused
from agent.settings import Serial
from agent.sources import Reading, SensorInfo, Sink
from agent.sources.one_way import OneWayDelay
from agent.sources.port import Port
from core.signals.clock import DeviceClock
from firmware_bridge import commands
from firmware_bridge.decoders import Event, Identity, Pong, Reply, Samples
from firmware_bridge.decoders.homeside_serial import HomesideSerial
from firmware_bridge.errors import CommandError
from firmware_bridge.framing import Damaged
from firmware_bridge.protocol import Kind

log = structlog.get_logger(__name__)

STANDARD_GRAVITY = 9.80665
"""m/s² in one g, exact (3rd CGPM, 1901)."""
ANSWER_WITHIN_S = 1.0
ATTEMPTS = 3
PINGS = 8
PING_APART_S = 0.06


class SerialSource:
    """One sensor on one port; `run` for every time it is plugged in."""

    def __init__(self, settings: Serial, path: str, open_port: Callable[[], Port]) -> None:
        self.name = "serial"
        self._settings, self._path, self._open_port = settings, path, open_port
        self._decoder = HomesideSerial()
        self._clock = DeviceClock(self._decoder.tick_ns)
        self._delay = OneWayDelay()
        self._port: Port | None = None
        self._sink: Sink | None = None
        self._info: SensorInfo | None = None
        self._dropped = 0
        self._tokens = itertools.count(1)
        self._pings: dict[int, int] = {}
        self._identities: list[asyncio.Future[Identity]] = []
        self._replies: dict[int, asyncio.Future[Reply]] = {}

    async def run(self, sink: Sink) -> None:
        port = self._open_port()
        self._port, self._sink = port, sink
        self._clock, self._delay = DeviceClock(self._decoder.tick_ns), OneWayDelay()
        self._decoder.break_off()
        port.start()
        asking = asyncio.create_task(self._ask())
        try:
            while True:
                for data, arrival_ns in await port.chunks(self._settings.silent_after_s):
                    for event in self._decoder.feed(data, arrival_ns):
                        self._handle(event)
                if asking.done():
                    asking.result()
        finally:
            self._port = None
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await port.close()
            self._dropped += port.dropped

    async def set_rate(self, hz: float) -> float:
        try:
            reply = await self._command(Kind.SET_RATE, commands.set_rate(hz))
        except CommandError as error:
            raise CommandRefused(str(error)) from None
        await self.identify()
        return reply.value

    async def identify(self) -> SensorInfo:
        found = await self._identity()
        if found is None:
            raise CommandRefused(f"the sensor on {self._path} does not answer")
        return found

    @property
    def samples(self) -> int:
        return self._decoder.counters.samples

    def figures(self) -> dict[str, Any]:
        counters = self._decoder.counters
        return {
            "port": self._path,
            "frames": counters.frames,
            "samples": counters.samples,
            "lost": counters.lost,
            "restarts": counters.restarts,
            "damaged": sum(counters.damaged.values()),
            "chunksDropped": self._dropped + (self._port.dropped if self._port is not None else 0),
        }

    async def _ask(self) -> None:
        """The whole conversation of one connection, beside the samples that flow meanwhile."""
        if await self._identity() is None:
            log.warning("sensor_does_not_answer", port=self._path)
            self._tell(SensorInfo("unknown", "unknown"))
        for kind, value in ((Kind.SET_RATE, self._settings.rate_hz), (Kind.SET_RANGE, self._settings.range_g)):
            if value is not None:
                await self._configure(kind, value)
        while True:
            await self._ping()
            await asyncio.sleep(self._settings.ping_every_s)

    async def _configure(self, kind: Kind, value: float) -> None:
        frame = commands.set_rate(value) if kind is Kind.SET_RATE else commands.set_range(value)
        try:
            await self._command(kind, frame)
        except CommandRefused as refused:
            log.warning("sensor_refused_setting", port=self._path, setting=kind.name.lower(), reason=str(refused))

    async def _identity(self) -> SensorInfo | None:
        for _ in range(ATTEMPTS):
            if self._port is None:
                return None
            waiter: asyncio.Future[Identity] = asyncio.get_running_loop().create_future()
            self._identities.append(waiter)
            self._port.write(commands.identify())
            with suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    await waiter
                return self._info
        return None

    async def _command(self, kind: Kind, frame: bytes) -> Reply:
        if self._port is None:
            raise CommandRefused(f"no sensor on {self._path} now")
        if kind in self._replies:
            raise CommandRefused(f"{kind.name.lower()} is under way already")
        waiter: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._replies[kind] = waiter
        try:
            self._port.write(frame)
            async with asyncio.timeout(ANSWER_WITHIN_S):
                reply = await waiter
        except TimeoutError:
            raise CommandRefused(f"the sensor on {self._path} does not answer {kind.name.lower()}") from None
        finally:
            del self._replies[kind]
        if not reply.ok:
            raise CommandRefused(f"the sensor refuses {kind.name.lower()}: code {reply.code}", code=reply.code)
        return reply

    async def _ping(self) -> None:
        """A burst; the shortest round trip counts."""
        self._pings.clear()
        for _ in range(PINGS):
            token = next(self._tokens) & commands.MAX_TOKEN
            if self._port is not None:
                self._port.write(commands.ping(token), partial(self._pings.__setitem__, token))
            await asyncio.sleep(PING_APART_S)
        await asyncio.sleep(ANSWER_WITHIN_S)
        delay = self._delay.estimate()
        if delay is not None:
            self._clock.set_delay(delay)
            log.debug("one_way_delay", ms=round(delay / 1e6, 3))

    def _handle(self, event: Event) -> None:
        if isinstance(event, Samples):
            self._samples(event)
        elif isinstance(event, Pong):
            sent_ns = self._pings.pop(event.token, None)
            if sent_ns is not None:
                self._delay.pong(event.offset_ns(sent_ns), event.round_trip_ns(sent_ns), event.arrival_ns)
        elif isinstance(event, Identity):
            self._identified(event)
        elif isinstance(event, Reply):
            waiter = self._replies.get(event.command)
            if waiter is not None and not waiter.done():
                waiter.set_result(event)
        elif isinstance(event, Damaged):
            log.debug("frame_damaged", port=self._path, reason=event.reason.name)

    def _samples(self, packet: Samples) -> None:
        newest = int(packet.ticks[-1])
        if self._clock.observe(newest, packet.arrival_ns):
            log.info("device_clock_restarted", port=self._path)
            self._delay.restart()
        self._delay.packet(newest * self._decoder.tick_ns, packet.arrival_ns)
        if self._info is not None and (self._info.rate_hz, self._info.range_g) != (packet.rate_hz, packet.range_g):
            self._tell(self._info._replace(rate_hz=packet.rate_hz, range_g=packet.range_g))
        assert self._sink is not None
        self._sink.samples(
            Reading(
                t_ns=self._clock.to_ns(packet.ticks),
                xyz=np.asarray(packet.acc_g) * STANDARD_GRAVITY,
                arrival_ns=packet.arrival_ns,
                lost=packet.lost,
                error_ms=self._clock.error_ms,
                tick=float(newest),
            )
        )

    def _identified(self, identity: Identity) -> None:
        known = self._info if self._info is not None else SensorInfo("", "")
        self._tell(known._replace(name=identity.name, kind=identity.sensor))
        waiting, self._identities = self._identities, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(identity)

    def _tell(self, info: SensorInfo) -> None:
        self._info = info
        assert self._sink is not None
        self._sink.sensor(info)
