"""Converts host-monotonic time to time of day, with one offset for as long as the wall clock is not set.

NTP slews both clocks alike, so the offset changes only when the wall clock is set: after boot on a Pi without a
battery, or by hand. Then it is taken anew, once; small corrections do not disturb the stream.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP_NS = 500_000_000
"""A wall clock off by more than this has been set."""


class WallClock:
    """Takes readings of both clocks, made as close together as possible; all in ns, the wall clock's since
    the epoch.
    """

    def __init__(self, monotonic_ns: int, wall_ns: int) -> None:
        self._offset = wall_ns - monotonic_ns
        self.steps = 0

    @property
    def offset_ns(self) -> int:
        """Current offset: time of day minus monotonic time."""
        return self._offset

    def check(self, monotonic_ns: int, wall_ns: int) -> float | None:
        """By how many ms the wall clock was set since the last check, or None; the new time applies from then on."""
        moved = wall_ns - monotonic_ns - self._offset
        if abs(moved) <= STEP_NS:
            return None
        self._offset += moved
        self.steps += 1
        return moved / 1e6

    def epoch_ms(self, monotonic_ns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Epoch ms rounded to microseconds, which is what a float64 can hold today."""
        milliseconds: NDArray[np.float64] = np.round((monotonic_ns + self._offset) / 1e6, 3)
        return milliseconds
