"""Straight lines through stamps that can be late but never early.

A stamp is the true moment plus a delay of at least zero, so every estimator here leans on the earliest
stamps: the lower hull trusts them wholly, Theil-Sen outvotes the few that lie, and the late-discounted fit
weighs all. Each takes x (ticks or sample indices, increasing) and y (stamps) and returns a Line; units are
the caller's.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_EARLY = 2.0
"""One stamp that is early by mistake may weigh e² times a punctual one, never more."""


class Line(NamedTuple):
    """y = intercept + slope * x."""

    slope: float
    intercept: float

    def at(self, x: float) -> float:
        return self.intercept + self.slope * x

    def over(self, x: Floats | NDArray[np.int64]) -> Floats:
        return np.asarray(self.intercept + self.slope * x, dtype=np.float64)


def lower_hull(x: Floats, y: Floats) -> Line:
    """The edge of the lower convex hull over the mean of x: the line below all points with the least total
    distance.

    Source: S. Moon, P. Skelly, D. Towsley, "Estimation and removal of clock skew from network delay
    measurements", INFOCOM 1999. Linear time for sorted x. One point gives slope 0.
    """
    hull: list[tuple[float, float]] = []
    for point in zip(x.tolist(), y.tolist(), strict=True):
        while len(hull) > 1 and _turns_down(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    if len(hull) == 1:
        return Line(0.0, hull[0][1])
    middle = float(x.mean())
    right = next((i for i in range(1, len(hull)) if hull[i][0] >= middle), len(hull) - 1)
    (x0, y0), (x1, y1) = hull[right - 1], hull[right]
    slope = (y1 - y0) / (x1 - x0)
    return Line(slope, y0 - slope * x0)


def _turns_down(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) <= (b[1] - a[1]) * (c[0] - a[0])


def theil_sen(x: Floats, y: Floats) -> Line:
    """The median of all pairwise slopes, then the median intercept: right while fewer than 29 % of points
    lie.

    Source: V. Paxson, "On calibrating measurements of packet transit times", SIGMETRICS 1998, who runs it
    over the minima of successive intervals; the caller brings those minima. One point gives slope 0.
    """
    if len(x) < 2:
        return Line(0.0, float(y[0]))
    first, second = _pairs(len(x))
    slope = float(np.median((y[second] - y[first]) / (x[second] - x[first])))
    return Line(slope, float(np.median(y - slope * x)))


@lru_cache(maxsize=128)
def _pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(n, 1)


def late_discounted(x: Floats, y: Floats, near: Line) -> Line:
    """Least squares with each point weighed by exp(-lateness / sd) about the line `near`: late stamps fade.

    To be called again with each new point, which makes it an iteration. Against plain least squares and the
    hull it wandered least, or hardly more than the best, under pure exponential delays and under delays
    rounded up to a radio's connection interval, where which points the hull touches is luck (simulated; the
    tests repeat it). Fewer than three points: `near`, moved to the last.
    """
    if len(x) < 3:
        return Line(near.slope, float(y[-1] - near.slope * x[-1]))
    late = y - near.over(x)
    late -= late.mean()
    scale = math.sqrt(float(late @ late) / len(late))
    if scale == 0.0:
        return near
    return _weighted(x, y, np.exp(np.minimum(late / -scale, MOST_EARLY)))


def _weighted(x: Floats, y: Floats, weights: Floats) -> Line:
    total = float(weights.sum())
    middle = float(weights @ x) / total
    level = float(weights @ y) / total
    across = x - middle
    spread = weights * across
    variance = float(spread @ across)
    slope = float(spread @ (y - level)) / variance if variance > 0.0 else 0.0
    return Line(slope, level - slope * middle)
