"""The relay's clocks: wall time for people, monotonic time for durations, a steady timescale for timers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> float:
        """Epoch ms by the wall clock, which may step."""
        ...

    def monotonic_ms(self) -> float:
        """Milliseconds that never step, of unknown origin."""
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
    """Whole epoch ms that never step, and a way to schedule a call on that scale."""

    def now_ms(self) -> int: ...
    def call_at(self, when_ms: int, callback: Callable[[], None]) -> Wake: ...


class SteadyClock:
    """Epoch ms that a step of the wall clock does not move: the monotonic clock plus an anchor.

    Without a given anchor it is the present difference between the wall and the monotonic clock. Passing the anchor
    from run to run, within one boot of the machine, gives all runs the same timescale.
    """

    def __init__(self, anchor_ns: int | None = None) -> None:
        self.anchor_ns = wall_anchor_ns() if anchor_ns is None else anchor_ns

    def now_ms(self) -> int:
        return (time.monotonic_ns() + self.anchor_ns) // 1_000_000

    def call_at(self, when_ms: int, callback: Callable[[], None]) -> Wake:
        """Call from within the event loop. Up to 1 ms late; early only by the loop's own rounding."""
        wait_s = when_ms / 1000 - (time.monotonic_ns() + self.anchor_ns) / 1e9
        return asyncio.get_running_loop().call_later(max(0.0, wait_s), callback)


def wall_anchor_ns() -> int:
    return time.time_ns() - time.monotonic_ns()


def boot_id() -> str:
    """Id of this boot of the machine, during which the monotonic clock is valid; empty where the system gives none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
