"""The curve of a fast sensor, low-passed before it is told on the coarser grid.

A grid of 100 Hz cannot carry what lies above 50 Hz: told point by point, a sensor's hiss and the mains' hum
would fold down onto the heartbeat. The curve is read every 2 ms and a symmetric FIR takes off what does not
fit, without shifting anything in time; at the ends of a stretch it leans on the outermost values.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from core.signals.spline import Interval, Knot

PARTS = 5
"""Fine points per grid step."""

REACH = 4
"""Grid steps the filter looks to either side: 40 ms, which is the delay it costs."""

CUT_OFF = 0.45
"""Of the grid's rate. At 100 Hz: 0.3 dB lost at 30, 1.2 at 35, 6 at 45, 45 and more from 65 Hz on
(computed)."""

FAST, NOT_FAST = 0.65, 0.75
"""Periods below this share of the grid's step need it; above the second they do not: 154 and 133 Hz."""

SIDE = REACH * PARTS
Timed = tuple[int, float]


def windowed_sinc(taps: int, cut_off: float) -> NDArray[np.float64]:
    """A linear-phase low-pass of `taps` coefficients, `cut_off` as a share of half the rate, gain 1 at rest (Hamming).

    Written out, as scipy.signal.firwin gives the same but takes a second of a relay's start to import.
    """
    order = np.arange(taps) - (taps - 1) / 2
    kernel = np.sinc(cut_off * order) * np.hamming(taps)
    return np.asarray(kernel / kernel.sum())


class LowPass:
    """One stretch of curve after another: `begin`, `add` what was drawn, `end` where no more comes, for now
    or at all.

    `add` and `end` give (grid time, value), each time once, rising.
    """

    def __init__(self, step: int) -> None:
        self.active = False
        self._step = step
        self._kernel = windowed_sinc(2 * SIDE + 1, 2.0 * CUT_OFF / PARTS)
        self._fine: list[float] = []
        self._first = 0
        self._told = 0

    def suits(self, period_ms: float) -> bool:
        """Whether a stream of this period needs the filter, given whether it has it now."""
        return period_ms < (NOT_FAST if self.active else FAST) * self._step

    def begin(self, first: int, at: Knot) -> None:
        """A stretch whose first grid point is to be `first`, at the knot or up to a step before."""
        self.active = True
        self._told = first // self._step
        self._first = self._told * PARTS - SIDE
        self._fine = [at.v] * max(math.ceil(at.t * PARTS / self._step) - self._first, 0)

    def add(self, interval: Interval) -> list[Timed]:
        """The grid points, filtered, that are settled once this interval is known."""
        start = self._first + len(self._fine)
        stop = math.floor(interval.b.t * PARTS / self._step) + 1
        self._fine += [interval.at(k * self._step / PARTS) for k in range(start, stop)]
        return self._tell(self._fine)

    @property
    def waiting(self) -> bool:
        return self.active and self._told * PARTS < self._first + len(self._fine)

    def end(self) -> list[Timed]:
        """All up to the last value added, as if that lasted."""
        return self._tell(self._fine + self._fine[-1:] * SIDE)

    def _tell(self, fine: list[float]) -> list[Timed]:
        count = (self._first + len(fine) - 1 - SIDE) // PARTS - self._told + 1
        if count <= 0:
            return []
        smooth = np.convolve(fine, self._kernel, "valid")[::PARTS][:count]
        told = [((self._told + i) * self._step, value) for i, value in enumerate(smooth.tolist())]
        self._told += count
        del self._fine[: count * PARTS]
        self._first += count * PARTS
        return told
