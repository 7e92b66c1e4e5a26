"""The 1€ filter on arrays: slow movement is smoothed, fast movement is not delayed.

Casiez, Roussel and Vogel, "1 € Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems",
CHI 2012. Speeds are in body sizes per second, so that the distance to the camera does not matter.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
FIRST_STEP_S = 1 / 30


class Tuning(NamedTuple):
    """Cut-off frequencies in Hz; `beta` is in Hz per body size per second."""

    least_hz: float
    beta: float
    speed_hz: float = 1.0


class OneEuro:
    """Filters an array of values, each by itself."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._last_ns: int | None = None
        self._raw: Floats = np.zeros(0, np.float32)
        self._smooth: Floats = self._raw
        self._speed: Floats = self._raw

    def reset(self) -> None:
        self._last_ns = None

    def apply(self, values: Floats, t_ns: int, size: float = 1.0) -> Floats:
        """The smoothed values; `size` is the size of the body, in the values' own unit."""
        if self._last_ns is None:
            self._last_ns, self._raw, self._smooth, self._speed = t_ns, values, values, np.zeros_like(values)
            return values
        step_s = (t_ns - self._last_ns) / 1e9 if t_ns > self._last_ns else FIRST_STEP_S
        speed = (values - self._raw) / np.float32(size * step_s)
        self._speed = self._speed + np.float32(_weight(self._tuning.speed_hz, step_s)) * (speed - self._speed)
        cutoff = self._tuning.least_hz + self._tuning.beta * np.abs(self._speed)
        weight = 1 / (1 + 1 / (2 * math.pi * cutoff * step_s))
        self._smooth = (self._smooth + weight * (values - self._smooth)).astype(np.float32)
        self._raw, self._last_ns = values, max(t_ns, self._last_ns)
        return self._smooth


def _weight(cutoff_hz: float, step_s: float) -> float:
    return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * step_s))
