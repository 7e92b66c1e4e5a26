"""The session: samples of one source become numbered messages of a tenth of a second, from its start to its end.

A session outlives the agent: its id and last sign of life are in the outbox, so a start within `resume_within_s`
resumes it, and a later start first reports when it ended. Start and end are on disk before they count.
"""

from __future__ import annotations

import asyncio
import math
import platform
import time
import uuid
from collections.abc import Callable

import msgspec
import numpy as np
import structlog

from agent.outbox import Outbox
from agent.outbox.blocks import SessionMark
from agent.sections import Session
from agent.sources import Reading, SensorInfo
from agent.wall_clock import WallClock
from core.contracts.scg import (
    MAX_SAMPLES_PER_BATCH,
    ClockNote,
    Device,
    Sample,
    SamplesBatch,
    Sensor,
    SessionEnded,
    SessionStarted,
    iso,
)

log = structlog.get_logger(__name__)

BATCH_S = 0.1
PLACES = 5
"""Decimals sent, in m/s²: 10 µm/s² is a quarter of the finest step of a 20-bit sensor at 2 g."""


class Recorder:
    """The sink of one source. `sensor` is its name: each of a kit's sensors has sessions of its own."""

    def __init__(
        self,
        outbox: Outbox,
        settings: Session,
        wall: WallClock,
        version: str,
        *,
        sensor: str = "",
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.unrecorded = 0
        """Samples that arrived while no session was running."""
        self.error_ms: float | None = None
        self.device = Device(user_agent=f"homeside-agent/{version}", platform=platform.platform(terse=True))
        self._outbox, self._settings, self._wall, self._sensor = outbox, settings, wall, sensor
        self._monotonic_ns, self._wall_ns = monotonic_ns, wall_ns
        self._may_begin = settings.autostart
        self._mark: SessionMark | None = None
        self._info: SensorInfo | None = None
        self._pending: list[Reading] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def session(self) -> str | None:
        """The id of the running session, if any."""
        return self._mark.id if self._mark is not None else None

    def take_up(self, last: SessionMark | None) -> None:
        """Resume the last run's session, or end it as of its last sign of life."""
        if last is None or last.ended_at is not None:
            return
        away_s = (self._now_ms() - last.seen_at) / 1000
        self._mark = last
        if abs(away_s) <= self._settings.resume_within_s:
            self._outbox.mark(last, self._sensor)
            log.info("session_started", session=last.id, resumed=True, away_s=round(away_s, 1))
        else:
            self._end(last.seen_at)

    def begin(self, session: str | None = None) -> str:
        """Start a session, ending the current one; if the requested one is already running, nothing changes."""
        if self._mark is not None:
            if session == self._mark.id:
                return session
            self.end()
        now = self._now_ms()
        self._mark = SessionMark(id=session or str(uuid.uuid4()), started_at=now, seen_at=now)
        self._outbox.mark(self._mark, self._sensor)
        self._describe()
        log.info("session_started", session=self._mark.id, resumed=False)
        return self._mark.id

    def end(self) -> None:
        """End the running session, if any; the next one starts only on request."""
        self.flush()
        self._may_begin = False
        if self._mark is not None:
            self._end(self._now_ms())

    def sensor(self, info: SensorInfo) -> None:
        """A source is ready or its sensor has changed: report the sensor to the relay as part of the session."""
        if info == self._info:
            return
        self.flush()
        self._info = info
        if self._mark is not None:
            self._describe()
        elif self._may_begin:
            self.begin()

    def samples(self, reading: Reading) -> None:
        """Take samples of the running session; a message is sent a tenth of a second after its first sample."""
        if self._mark is None and self._may_begin:
            self.begin()
        if self._mark is None:
            self.unrecorded += len(reading.t_ns)
            return
        self.error_ms = reading.error_ms
        self._pending.append(reading)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_S, self.flush)

    def flush(self) -> None:
        """Put the samples collected so far into the outbox."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        readings, self._pending = self._pending, []
        stepped_ms = self._wall.check(self._monotonic_ns(), self._wall_ns())
        if stepped_ms is not None:
            log.warning("clock_stepped", by_ms=round(stepped_ms))
        if readings and self._mark is not None:
            for batch in self._batches(readings):
                self._outbox.put("samples_batch", batch, self._mark.id, self._now_ms())

    def _batches(self, readings: list[Reading]) -> list[SamplesBatch]:
        t = self._wall.epoch_ms(np.concatenate([reading.t_ns for reading in readings]))
        xyz = np.round(np.concatenate([reading.xyz for reading in readings]), PLACES)
        samples = [
            Sample(t=when, ax=_number(x), ay=_number(y), az=_number(z))
            for when, (x, y, z) in zip(t.tolist(), xyz.tolist(), strict=True)
        ]
        note = self._note(readings)
        lost = sum(reading.lost for reading in readings)
        parts = range(0, len(samples), MAX_SAMPLES_PER_BATCH)
        return [
            SamplesBatch(samples[at : at + MAX_SAMPLES_PER_BATCH], clock=note, lost=0 if at else lost) for at in parts
        ]

    def _note(self, readings: list[Reading]) -> ClockNote:
        """How these times were derived, with each packet's counter and arrival, so that they can be fitted
        again later.
        """
        last = readings[-1]
        return ClockNote(
            error_ms=_rounded(last.error_ms),
            tick=last.tick,
            arrival_ns=last.arrival_ns,
            tick_ns=last.tick_ns,
            offset_ns=self._wall.offset_ns,
            packets=[(one.tick, one.arrival_ns, len(one.t_ns)) for one in readings if one.tick is not None],
        )

    def _describe(self) -> None:
        assert self._mark is not None
        info = self._info
        sensor = Sensor(info.name, info.kind, info.rate_hz, info.range_g) if info is not None else None
        started = SessionStarted(started_at=iso(self._mark.started_at), device=self.device, sensor=sensor)
        self._outbox.put("session_started", started, self._mark.id, self._now_ms(), kept=True)

    def _end(self, at_ms: int) -> None:
        assert self._mark is not None
        mark, self._mark = self._mark, None
        end_session(self._outbox, mark, self._sensor, at_ms, self._now_ms())

    def _now_ms(self) -> int:
        return self._wall_ns() // 1_000_000


def end_session(outbox: Outbox, mark: SessionMark, sensor: str, at_ms: int, now_ms: int) -> None:
    """The relay hears that it is over, as of `at_ms`; the next start that there is nothing to go on with."""
    outbox.mark(msgspec.structs.replace(mark, ended_at=at_ms), sensor)
    outbox.put("session_ended", SessionEnded(iso(at_ms)), mark.id, now_ms, kept=True)
    log.info("session_ended", session=mark.id)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
