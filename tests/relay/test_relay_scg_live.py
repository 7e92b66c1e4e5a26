"""What a live session tells of the heart: of now, or nothing."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import numpy as np
import pytest

from core.contracts.scg import Columns
from relay.process.metrics import Metrics
from relay.rooms import Audience, Member, Room
from relay.scg.entries import Session
from relay.scg.live import CROWD, SILENT_MS, Live
from relay.scg.rules import Part

BEAT_S = 1.0


class Clock:
    """Both of the relay's clocks, moved by hand."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000.0

    def now_ms(self) -> float:
        return self.ms

    def monotonic_ms(self) -> float:
        return self.ms


class Screen:
    """The writing half of a viewer's connection."""

    paused, waiting_bytes = False, 0

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write_frame(self, frame: bytes) -> None:
        self.written.append(frame)

    def end(self, code: int, reason: str = "") -> None: ...

    def told(self, status: str) -> list[int]:
        """The counts of viewers that came with it."""
        found = [json.loads(frame[frame.index(b"{") :])["payload"] for frame in self.written]
        return [one["viewerCount"] for one in found if one.get("status") == status]

    @property
    def payload(self) -> dict[str, Any]:
        """Of the newest analysis."""
        found: dict[str, Any] = json.loads(self.written[-1][self.written[-1].index(b"{") :])
        assert found["type"] == "analysis"
        payload: dict[str, Any] = found["payload"]
        return payload

    @property
    def rate(self) -> float | None:
        bpm: float | None = self.payload["heartRate"]["bpm"]
        return bpm


def heart(begin_ms: float, seconds: float) -> Columns:
    """Two sounds a beat at 60 a minute, m/s²."""
    t = begin_ms + np.arange(0.0, 1000 * seconds, 10.0)
    since = ((t - begin_ms) / 1000) % BEAT_S
    noise = np.random.default_rng(0).normal(size=len(t))
    first = np.exp(-(((since - 0.2) / 0.035) ** 2)) * np.sin(2 * math.pi * 11 * since)
    second = 0.4 * np.exp(-(((since - 0.5) / 0.025) ** 2)) * np.sin(2 * math.pi * 20 * since)
    az = 9.81 + 0.1 * (first + second) + 0.003 * noise
    return Columns(t=t, ax=np.zeros_like(t), ay=np.zeros_like(t), az=az)


def watched(clock: Clock) -> tuple[Live, Screen]:
    session = Session(id="1f0e1e36-3a07-4d3f-9b0a-5f5a0f9a7d11", started_at_ms=clock.ms)
    live = Live(session, Room(clock.monotonic_ms), clock, Metrics(), backlog_ms=30_000)
    screen = Screen()
    live.room.join(Member(screen, Audience.ANALYST))
    return live, screen


async def test_no_rate_is_told_of_a_heart_that_is_heard_no_more() -> None:
    clock = Clock()
    live, screen = watched(clock)
    live.start_line()
    for _ in range(13):
        live.show(heart(clock.ms, 1.0), None)
        clock.ms += 1000
        await live.analyse()
    assert screen.rate is not None
    assert abs(screen.rate - 60) < 3
    clock.ms += SILENT_MS
    for _ in range(4):
        clock.ms += 1000
        await live.analyse()
        assert screen.rate is None
    live.stop_line()


async def test_how_old_the_line_is_grows_while_nothing_comes() -> None:
    """A second of samples that took 250 ms to come; then silence."""
    clock = Clock()
    live, screen = watched(clock)
    live.start_line()
    live.show(heart(clock.ms - 1240, 1.0), 0.5)
    for silent_ms in (0, 700, 5000):
        clock.ms += silent_ms
        await live.analyse()
        assert screen.payload["delayMs"] == pytest.approx(250 + silent_ms)
        clock.ms -= silent_ms
    assert screen.payload["clockErrorMs"] == 0.5
    live.stop_line()


async def test_a_rate_is_not_made_of_what_the_store_remembers() -> None:
    """Somebody opens a session whose sensor fell silent before this relay began."""
    clock = Clock()
    live, screen = watched(clock)
    live.prime(heart(clock.ms - 3_600_000, 20.0))
    live.start_line()
    for _ in range(5):
        clock.ms += 1000
        await live.analyse()
        assert screen.rate is None
    live.stop_line()


async def test_a_crowd_that_comes_is_announced_together_and_counted_right_in_the_end() -> None:
    """Each told to each would keep a relay from everything else for minutes."""
    live, screen = watched(Clock())
    crowd = [Member(Screen(), Audience.VIEWER) for _ in range(200)]
    for member in crowd:
        live.room.join(member)
        if status := live.presence.join(member, Part.VIEWER):
            live.announce(status)
    assert len(screen.written) < CROWD
    async with asyncio.timeout(60):
        while screen.told("viewer_connected")[-1:] != [200]:
            await asyncio.sleep(0.01)
    live.announce("patient_connected")
    assert screen.told("patient_connected") == [200]
    for member in crowd:
        live.room.leave(member)
        live.announce(live.presence.leave(member, Part.VIEWER))
    async with asyncio.timeout(60):
        while screen.told("viewer_disconnected")[-1:] != [0]:
            await asyncio.sleep(0.01)
    assert len(screen.written) < 3 * CROWD
