"""Low-pass filter for sensors faster than the grid, applied before their curve is sampled at the grid's coarser steps.

A 100 Hz grid cannot represent frequencies above 50 Hz: without the filter, sensor noise and mains hum would alias onto
the heartbeat. The curve is read every 2 ms and filtered by a symmetric FIR, which shifts nothing in time; at the ends
of a stretch the outermost value is repeated.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from core.signals.spline import Interval, Knot

PARTS = 5
"""Fine points per grid step."""

REACH = 4
"""Grid steps covered on either side of a point: 40 ms, which is also the delay added."""

CUT_OFF = 0.45
"""Cut-off as a share of the grid's rate. At 100 Hz the loss is 0.3 dB at 30 Hz, 1.2 at 35, 6 at 45, and 45 or more from
65 Hz on (computed)."""

FAST, NOT_FAST = 0.65, 0.75
"""Shares of the grid's step: the filter starts for periods below the first (154 Hz) and stops above the second (133
Hz)."""

SIDE = REACH * PARTS
Timed = tuple[int, float]


def windowed_sinc(taps: int, cut_off: float) -> NDArray[np.float64]:
    """A linear-phase low-pass of `taps` coefficients, `cut_off` as a share of half the rate, gain 1 at 0 Hz (Hamming).

    Equals scipy.signal.firwin, whose import would add a second to the relay's start.
    """
    order = np.arange(taps) - (taps - 1) / 2
    kernel = np.sinc(cut_off * order) * np.hamming(taps)
    return np.asarray(kernel / kernel.sum())


class LowPass:
    """Filters one stretch of curve at a time: `begin`, `add` what was drawn, `end` where nothing more follows for now.

    `add` and `end` return (grid time, value) pairs, each time once and in rising order.
    """

    def __init__(self, step: int) -> None:
        self.active = False
        self._step = step
        self._kernel = windowed_sinc(2 * SIDE + 1, 2.0 * CUT_OFF / PARTS)
        self._fine: list[float] = []
        self._first = 0
        self._told = 0

    def suits(self, period_ms: float) -> bool:
        """Whether a stream of this period needs the filter; with hysteresis, so the answer depends on `active`."""
        return period_ms < (NOT_FAST if self.active else FAST) * self._step

    def begin(self, first: int, at: Knot) -> None:
        """Begin a stretch whose first grid point is `first`, at the knot `at` or up to one step before it."""
        self.active = True
        self._told = first // self._step
        self._first = self._told * PARTS - SIDE
        self._fine = [at.v] * max(math.ceil(at.t * PARTS / self._step) - self._first, 0)

    def add(self, interval: Interval) -> list[Timed]:
        """The filtered grid points that this interval completes."""
        start = self._first + len(self._fine)
        stop = math.floor(interval.b.t * PARTS / self._step) + 1
        self._fine += [interval.at(k * self._step / PARTS) for k in range(start, stop)]
        return self._tell(self._fine)

    @property
    def waiting(self) -> bool:
        return self.active and self._told * PARTS < self._first + len(self._fine)

    def end(self) -> list[Timed]:
        """The remaining points up to the last value added, which is taken to continue."""
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
