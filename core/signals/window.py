"""The latest seconds of the grid as one regular array, with unknown samples marked."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Window(NamedTuple):
    """x: one value per step [n], holes filled linearly so that filters can run; known: False inside holes."""

    start_ms: int
    step_ms: float
    x: Floats
    known: Mask

    def time_ms(self, index: int) -> int:
        return self.start_ms + round(index * self.step_ms)


def regular(t_ms: NDArray[np.int64], values: Floats, fs: float, longest_s: float) -> Window:
    """The last `longest_s` seconds of a grid with holes; t_ms rising, spaced by multiples of 1000 / fs ms."""
    step = 1000.0 / fs
    first = int(np.searchsorted(t_ms, t_ms[-1] - longest_s * 1000.0, side="right"))
    t, v = t_ms[first:], values[first:]
    at = np.rint((t - t[0]) / step).astype(np.int64)
    known = np.zeros(int(at[-1]) + 1, dtype=np.bool_)
    known[at] = True
    x = v if known.all() else np.interp(np.arange(len(known)), at, v)
    return Window(int(t[0]), step, x, known)
