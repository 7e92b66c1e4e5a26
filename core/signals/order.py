"""Puts samples into time order and settles every irregularity of a live stream before a curve is drawn through it.

Samples are sorted as long as nothing was drawn past them. A hole is waited for, then declared a gap. A clock that steps
back is re-anchored, so that time never repeats and the stream does not pause for the length of the step. A lone stamp
from the future is dropped. Nothing here knows about grids.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from core.signals.late import Late
from core.signals.spline import AHEAD, Knot

GAP_PERIODS = 3.0
GAP_MS = 100.0
"""A hole longer than max(3 periods, 100 ms) is a gap and is never bridged."""

STRAIGHT_PERIODS = 2.5
"""Wider holes (two or more missing samples) are crossed by a line, as a cubic errs more than a line
there (measured)."""

LONGEST_PERIOD_MS = 110.0
"""The slowest stream served, a little under 10 Hz; caps the first intervals, so that a long one is not taken for the
period."""

RENEWAL = 16

CROWDED = 0.1
"""Samples closer than this share of a period are one sample sent twice."""


class Start(NamedTuple):
    """The first sample, and up to AHEAD that follow it."""

    knots: list[Knot]


class Curve(NamedTuple):
    """Draw this many intervals, to ahead[0] and on; the rest of `ahead` only shapes the curve."""

    ahead: list[Knot]
    intervals: int
    period: float


class Straight(NamedTuple):
    """A hole too wide for a curve and too narrow for a gap: draw a straight line to `to`."""

    to: Knot


class Across(NamedTuple):
    """A gap after the time `near`: begin anew at `to`."""

    near: float
    to: Knot


Move = Start | Curve | Straight | Across


class Period:
    """The running median of the last 32 intervals, updated after every 16."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=32)
        self._count = 0
        self._value = 0.0

    def add(self, intervals: Iterable[float]) -> None:
        """Add intervals in ms, each counted as at most LONGEST_PERIOD_MS."""
        for interval in intervals:
            self._recent.append(min(interval, LONGEST_PERIOD_MS))
            self._count += 1
        if self.known and self._count % RENEWAL == 0:
            self._value = median(self._recent)

    @property
    def known(self) -> bool:
        return self._count >= RENEWAL

    @property
    def stays(self) -> int:
        """For how many more intervals the value will not change."""
        return RENEWAL - self._count % RENEWAL if self.known else 1

    def value(self, coming: Iterable[float]) -> float:
        """The period in ms. Until enough intervals are known, the `coming` ones are included."""
        if self.known:
            return self._value
        known = [*self._recent, *coming]
        return min(median(known), LONGEST_PERIOD_MS) if known else 0.0


def gap_limit(period_ms: float) -> float:
    return max(GAP_MS, GAP_PERIODS * period_ms)


class Order:
    """The queue between a stream and its curve. Times are the stream's own, in ms, plus `shift_ms`."""

    def __init__(self, hold_ms: float) -> None:
        self.dropped = 0
        self.shift_ms = 0.0
        self._hold = hold_ms
        self._queue: list[Knot] = []
        self._drawn: Knot | None = None
        self._period = Period()
        self._late = Late()
        self._push = 0
        self._now = 0.0
        self._forward_ms = 0.0
        self._fresh: set[float] = set()
        self._tail = 0.0
        self._hole: tuple[float, int, float] | None = None
        self._decided = self._paused_at = float("-inf")

    @property
    def waiting(self) -> bool:
        return bool(self._queue)

    def add(self, samples: Iterable[tuple[float, float]], now_ms: float) -> None:
        """Take the samples of one push, in order of arrival."""
        self._push += 1
        self._now = now_ms
        self._fresh.clear()
        newest = self._newest()
        for t, v in samples:
            self._take(Knot(t + self.shift_ms, v), newest)
        if self._late.is_step(self._hold, now_ms):
            self._re_anchor()

    def _newest(self) -> float:
        if self._queue:
            return self._queue[-1].t
        return self._drawn.t if self._drawn else float("-inf")

    def _take(self, knot: Knot, newest: float) -> None:
        if self._drawn and knot.t <= self._drawn.t:
            self.dropped += self._late.add(knot, self._push, self._now)
            return
        if knot.t > newest:
            self.dropped += len(self._late.release())
            self._forward_ms = self._now
        self._insert(knot)

    def _insert(self, knot: Knot) -> None:
        queue = self._queue
        if not queue or knot.t > queue[-1].t:
            queue.append(knot)
        else:
            place = bisect_left(queue, knot.t, key=lambda other: other.t)
            if queue[place].t == knot.t:
                self.dropped += 1
                return
            queue.insert(place, knot)
        self._fresh.add(knot.t)
        self._tail = knot.t

    def _re_anchor(self) -> None:
        """The clock was set back for good: its times now continue where the old ones ended, plus the pause if there was
        one.
        """
        period = self._typical()
        pause = self._late.since_ms - self._forward_ms - self._late.first_span
        lead = pause if pause > max(2 * self._hold, gap_limit(period)) else period
        late = self._late.release()
        delta = self._newest() + lead - late[0].t
        self.shift_ms += delta
        for knot in late:
            self._insert(Knot(knot.t + delta, knot.v))

    def move(self, *, idle: bool) -> Move | None:
        """What to draw next; None while that depends on samples to come. `idle`: none are expected soon."""
        while self._queue:
            if self._drawn is None:
                return self._start() if idle or len(self._queue) > AHEAD else None
            period = self._typical()
            width = self._queue[0].t - self._drawn.t
            if width < CROWDED * period:
                self._give_up(0, 1)
            elif width > gap_limit(period):
                if not self._crossed(0, idle):
                    return None
                if self._queue[0].t - self._drawn.t == width:
                    return Across(self._drawn.t, self._advance(1)[0])
            elif width > STRAIGHT_PERIODS * period:
                return Straight(self._advance(1)[0]) if idle or len(self._queue) >= AHEAD else None
            else:
                return self._curve(period, idle)
        return None

    def _start(self) -> Start:
        period = self._typical()
        knots = self._queue[:1]
        for knot in self._queue[1 : AHEAD + 1]:
            if not CROWDED * period < knot.t - knots[-1].t <= STRAIGHT_PERIODS * period:
                break
            knots.append(knot)
        self._drawn = self._queue.pop(0)
        return Start(knots)

    def _curve(self, period: float, idle: bool) -> Curve | None:
        most = self._period.stays
        end, open_for = self._regular(period, most + AHEAD - 1)
        if end < len(self._queue) and self._queue[end].t - self._queue[end - 1].t > gap_limit(period):
            open_for = 0 if self._crossed(end, idle) else AHEAD - 1
        count = min(end if idle else end - open_for, most)
        if count < 1:
            return None
        ahead = self._queue[:end]
        self._advance(count)
        return Curve(ahead, count, period)

    def _regular(self, period: float, most: int) -> tuple[int, int]:
        """How many knots follow without a hole, up to `most`, and how many of them must wait for the next ones."""
        queue, at = self._queue, 1
        while at < min(len(queue), most):
            width = queue[at].t - queue[at - 1].t
            if width < CROWDED * period:
                self._give_up(at, at + 1)
            elif width > STRAIGHT_PERIODS * period:
                return at, max(at + AHEAD - 1 - len(queue), 0)
            else:
                at += 1
        return at, AHEAD - 1

    def _advance(self, count: int) -> list[Knot]:
        """The next `count` knots, which count as drawn from now on."""
        taken = self._queue[:count]
        del self._queue[:count]
        self._period.add(b.t - a.t for a, b in pairwise([self._drawn or taken[0], *taken]))
        self._drawn = taken[-1]
        return taken

    def _give_up(self, first: int, last: int) -> None:
        self.dropped += last - first
        del self._queue[first:last]

    def _typical(self) -> float:
        if self._period.known:
            return self._period.value(())
        known = [self._drawn, *self._queue[:AHEAD]] if self._drawn else self._queue[: AHEAD + 1]
        return self._period.value(b.t - a.t for a, b in pairwise(known))

    def paused(self) -> None:
        """Everything was drawn because the stream was idle: samples missing before its next one are not waited for."""
        self._paused_at = self._newest()

    def _crossed(self, at: int, idle: bool) -> bool:
        """Whether the hole before queue[at] is certainly a gap. May drop what lies beyond it, or shift it."""
        near, far = self._edge(at), self._queue[at].t
        if far <= self._decided:
            return True
        if self._hole is None or self._hole[0] != near:
            self._hole = (near, self._push, self._now)
        waited = idle or self._now - self._hole[2] >= self._hold
        if self._tail < far:
            if waited:
                self._give_up(at, len(self._queue))
            return False
        if not (waited or self._sure(near, far, at)):
            return False
        self._decided = far
        self._give_back(near, at)
        return True

    def _edge(self, at: int) -> float:
        knot = self._queue[at - 1] if at else self._drawn
        assert knot is not None
        return knot.t

    def _sure(self, near: float, far: float, at: int) -> bool:
        """One push contains both sides, or the stream has gone on beyond for long enough, or it had been idle."""
        if len(self._queue) - at < 2 or self._hole is None:
            return False
        long_told = self._push > self._hole[1] and self._queue[-1].t - far >= self._hold
        return long_told or near == self._paused_at or (near in self._fresh and far in self._fresh)

    def _give_back(self, near: float, at: int) -> None:
        """At a gap, undo a step back of the clock, if the gap stays a gap, or the clock was corrected exactly there."""
        if not self.shift_ms:
            return
        period = self._typical()
        rest = self._queue[at].t - near - self.shift_ms
        if rest > gap_limit(period) or abs(rest - period) <= period / 2:
            self._queue[at:] = [Knot(t - self.shift_ms, v) for t, v in self._queue[at:]]
            self.shift_ms = 0.0
            self._decided, self._tail = self._queue[at].t, self._queue[-1].t
