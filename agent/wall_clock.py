"""Host-monotonic time to time of day, with one offset for as long as the wall clock is left alone.

NTP slews both clocks alike, so the offset changes only when the wall clock is set: after boot on a Pi without a
battery, or by hand. Then it is taken anew, once, instead of tearing the stream with every small correction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP_NS = 500_000_000
"""A wall clock that is off by more than this from where it should be was set."""


class WallClock:
    """Given pairs of the two clocks, read as close together as can be. All in ns; epoch for the wall clock."""

    def __init__(self, monotonic_ns: int, wall_ns: int) -> None:
        self._offset = wall_ns - monotonic_ns
        self.steps = 0

    @property
    def offset_ns(self) -> int:
        """Time of day minus monotonic, as it holds now."""
        return self._offset

    def check(self, monotonic_ns: int, wall_ns: int) -> float | None:
        """By how many ms the wall clock was set since the last look, or None; from then on the new time holds."""
        moved = wall_ns - monotonic_ns - self._offset
        if abs(moved) <= STEP_NS:
            return None
        self._offset += moved
        self.steps += 1
        return moved / 1e6

    def epoch_ms(self, monotonic_ns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Epoch ms to the microsecond, which is what a float64 of today's epoch can hold."""
        milliseconds: NDArray[np.float64] = np.round((monotonic_ns + self._offset) / 1e6, 3)
        return milliseconds
