"""A relay's clocks: the wall's for what people read, the monotonic one for durations, the steady one for timers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> float:
        """Epoch milliseconds by the wall clock; may step."""
        ...

    def monotonic_ms(self) -> float:
        """Milliseconds that never step; their origin means nothing."""
        ...


class SystemClock:
    def now_ms(self) -> float:
        return time.time_ns() / 1e6

    def monotonic_ms(self) -> float:
        return time.monotonic_ns() / 1e6


class Wake(Protocol):
    """Something that will happen, unless it is cancelled."""

    def cancel(self) -> None: ...


class Timescale(Protocol):
    """Whole epoch milliseconds that never step, and a way to be called at one of them."""

    def now_ms(self) -> int: ...
    def call_at(self, when_ms: int, callback: Callable[[], None]) -> Wake: ...


class SteadyClock:
    """Epoch milliseconds that a step of the wall clock does not move: the monotonic clock, put upon an anchor.

    The anchor is the wall's distance from the monotonic clock when nobody gave one. Handed from run to run of the
    relay within one boot of the machine, it makes one timescale of all of them.
    """

    def __init__(self, anchor_ns: int | None = None) -> None:
        self.anchor_ns = wall_anchor_ns() if anchor_ns is None else anchor_ns

    def now_ms(self) -> int:
        return (time.monotonic_ns() + self.anchor_ns) // 1_000_000

    def call_at(self, when_ms: int, callback: Callable[[], None]) -> Wake:
        """From within the event loop; up to a millisecond late, never early but for the loop's own rounding."""
        wait_s = when_ms / 1000 - (time.monotonic_ns() + self.anchor_ns) / 1e9
        return asyncio.get_running_loop().call_later(max(0.0, wait_s), callback)


def wall_anchor_ns() -> int:
    return time.time_ns() - time.monotonic_ns()


def boot_id() -> str:
    """Which boot of the machine this is; empty where the system does not say. The monotonic clock lasts as long."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
