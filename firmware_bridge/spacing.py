"""Sample times for a device that stamps its packets but does not count samples: both are derived from its stamps.

Stamps of fine resolution are used as they are; coarse ones (whole milliseconds) are smoothed, to recover the regular
grid that they were rounded from.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_OFF = 0.05
"""A sensor's own oscillator mostly stays within 1 %, and is never further off than this."""
MISSING = 0.6
"""Lateness of a packet by the device's clock, in periods, from which a sample counts as missing."""
PULL, BEND = 0.1, 0.005
"""Shares of a stamp's deviation that correct the grid and its period (an alpha-beta filter)."""
LONGEST_GAP = 100_000_000
"""In samples. A longer gap means that the clock was set, not that samples were lost."""


class Placed(NamedTuple):
    """Placed samples: ticks [n], how many were lost before them, and whether the grid restarted."""

    ticks: NDArray[np.int64]
    lost: int
    restarted: bool


class Spacing:
    """`period`: nominal ticks between samples; `quantum`: resolution of the device's stamps, in ticks."""

    def __init__(self, period: float, quantum: float = 0.0) -> None:
        self.period = period
        self._nominal, self._quantum = period, quantum
        self._base = 0
        """Whole ticks to which all times are relative, as a float64 cannot hold nanoseconds since 2000."""
        self._end: float | None = None

    @property
    def end(self) -> float | None:
        """When the newest sample was taken; None before the first."""
        return None if self._end is None else self._base + self._end

    def place(self, newest: float, count: int) -> Placed:
        """`count` samples arrived, the newest taken at `newest` by the device's clock; an int keeps its full
        precision.
        """
        if self._end is None:
            self._base = int(newest)
        end = float(newest - self._base)
        if self._end is None:
            return self._anew(end, count, restarted=False)
        late = end - self._end - count * self.period
        lost = round(late / self.period) if late > max(MISSING * self.period, 1.5 * self._quantum) else 0
        if end <= self._end - self._quantum or lost > LONGEST_GAP:
            return self._anew(end, count, restarted=True)
        if lost:
            return self._anew(end, count, restarted=False)._replace(lost=lost)
        return self._go_on(end, late, count)

    def _anew(self, end: float, count: int, *, restarted: bool) -> Placed:
        self._end = end
        return Placed(self._rising(end - (count - 1) * self.period, self.period, count), 0, restarted)

    def _go_on(self, end: float, late: float, count: int) -> Placed:
        assert self._end is not None
        before = self._end
        if self._quantum:
            self.period = self._bounded(self.period + BEND * late / count)
            end = before + count * self.period + PULL * late
        else:
            self.period = self._bounded(self.period + PULL * late / count)
        self._end = end
        step = (end - before) / count
        return Placed(self._rising(before + step, step, count), 0, False)

    def _bounded(self, period: float) -> float:
        return min(max(period, self._nominal * (1 - MOST_OFF)), self._nominal * (1 + MOST_OFF))

    def _rising(self, first: float, step: float, count: int) -> NDArray[np.int64]:
        ticks: NDArray[np.int64] = self._base + np.rint(first + step * np.arange(count)).astype(np.int64)
        return ticks
