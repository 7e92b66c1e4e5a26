"""The relay's clocks: wall clock for times people read, monotonic for durations, steady clock for timers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> float:
        """Epoch milliseconds by the wall clock, which may jump."""
        ...

    def monotonic_ms(self) -> float:
        """Milliseconds that never jump; their origin has no meaning."""
        ...


class SystemClock:
    def now_ms(self) -> float:
        return time.time_ns() / 1e6

    def monotonic_ms(self) -> float:
        return time.monotonic_ns() / 1e6


class Wake(Protocol):
    """A scheduled call that can be cancelled."""

    def cancel(self) -> None: ...


class Timescale(Protocol):
    """Whole epoch milliseconds that never jump, and a way to be called at a given one."""

    def now_ms(self) -> int: ...
    def call_at(self, when_ms: int, callback: Callable[[], None]) -> Wake: ...


class SteadyClock:
    """Epoch milliseconds unaffected by jumps of the wall clock: the monotonic clock plus a fixed anchor.

    By default the anchor is the present difference between wall and monotonic clock. Passed on from one run of the
    relay to the next within the same boot of the machine, it gives all of them one timescale.
    """

    def __init__(self, anchor_ns: int | None = None) -> None:
        self.anchor_ns = wall_anchor_ns() if anchor_ns is None else anchor_ns

    def now_ms(self) -> int:
        return (time.monotonic_ns() + self.anchor_ns) // 1_000_000

    def call_at(self, when_ms: int, callback: Callable[[], None]) -> Wake:
        """Schedule a call at `when_ms`, from within the event loop; up to 1 ms late, early only by the loop's own
        rounding.
        """
        wait_s = when_ms / 1000 - (time.monotonic_ns() + self.anchor_ns) / 1e9
        return asyncio.get_running_loop().call_later(max(0.0, wait_s), callback)


def wall_anchor_ns() -> int:
    return time.time_ns() - time.monotonic_ns()


def boot_id() -> str:
    """Id of this boot of the machine, empty if unknown. The monotonic clock is valid within one boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
