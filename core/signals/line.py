"""Straight lines through stamps that can be late but never early.

A stamp is the true time plus a delay of at least zero, so every estimator here favours the earliest stamps: the lower
hull trusts them entirely, Theil-Sen outvotes a few outliers, the late-discounted fit weighs all. Each takes x (ticks or
sample indices, increasing) and y (stamps) and returns a Line, in the caller's units.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_EARLY = 2.0
"""Bound on the exponent of a weight: a stamp that is early by mistake weighs at most e² times a typical one."""


class Line(NamedTuple):
    """y = intercept + slope * x."""

    slope: float
    intercept: float

    def at(self, x: float) -> float:
        return self.intercept + self.slope * x

    def over(self, x: Floats | NDArray[np.int64]) -> Floats:
        return np.asarray(self.intercept + self.slope * x, dtype=np.float64)


def lower_hull(x: Floats, y: Floats) -> Line:
    """The edge of the lower convex hull above the mean of x: of all lines below the points, the one closest to them in
    total.

    Source: S. Moon, P. Skelly, D. Towsley, "Estimation and removal of clock skew from network delay measurements",
    INFOCOM 1999. Linear time for sorted x. One point gives slope 0.
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
    """The median of all pairwise slopes, then the median intercept; robust while fewer than 29 % of the points are
    outliers.

    Source: V. Paxson, "On calibrating measurements of packet transit times", SIGMETRICS 1998, who applies it to the
    minima of successive intervals; here the caller supplies those minima. One point gives slope 0.
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
    """Least squares in which each point weighs exp(-lateness / sd) relative to the line `near`, so that late stamps
    fade.

    Meant to be called again with each new point, which makes it an iteration. Compared with plain least squares and the
    hull it wandered least, or hardly more than the best, under exponential delays and under delays rounded up to a
    radio's connection interval, where it is chance which points the hull touches (simulated; repeated by the tests).
    With fewer than three points: `near`, moved to the last one.
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
