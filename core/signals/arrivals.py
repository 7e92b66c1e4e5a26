"""Times for samples that carry only the moment they, or their packet, reached a host.

Stamps are late by a delay of at least zero that all share in part: samples are counted, a line is laid
through the most punctual stamp of each group, and every sample is put on that line. Intervals never stray far
from the period, so a better fit is approached and not jumped to. Where all stamps stay late samples were
lost: the count skips them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from core.signals.line import Line, late_discounted

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Timed = tuple[float, float]

GROUP = 16
"""Samples of a host-stamped stream of which the most punctual one counts; a packet is its own group."""

WINDOW = 256
"""Groups in the fit: 41 s of host stamps at 100 Hz, 52 s of packets of 20."""

KNOWN_WELL = 16
"""Groups after which a line is good enough to tell a single lost sample by."""

STRAY = 0.25
GUESS_MS = 10.0
SHORTEST_MS = 0.5
LONGEST_MS = 110.0
"""Periods of the streams served, 10 to 1000 Hz, with room for a sensor that runs fast or slow."""

LATE_MS = 100.0
LATE_PERIODS = 3.0
"""From here on lateness is a stall or a loss: samples wait so long, or so many groups, to learn which."""
PATIENCE_MS = 150.0
PATIENCE_GROUPS = 2.5

EARLY_MS = 250.0
"""No delay is negative: a stamp this early says that the clock was set back."""


class Points:
    """The latest WINDOW points in one piece of memory, moved to its front when it is full."""

    def __init__(self) -> None:
        self._xy = np.empty((2, 2 * WINDOW))
        self._end = 0

    def __len__(self) -> int:
        return min(self._end, WINDOW)

    def add(self, x: float, y: float) -> None:
        """One more point; the oldest beyond WINDOW is forgotten."""
        if self._end == 2 * WINDOW:
            self._xy[:, :WINDOW] = self._xy[:, WINDOW:]
            self._end = WINDOW
        self._xy[:, self._end] = x, y
        self._end += 1

    def delay(self, by: float) -> None:
        self._xy[1, : self._end] += by

    @property
    def xy(self) -> tuple[Floats, Floats]:
        x, y = self._xy[:, max(0, self._end - WINDOW) : self._end]
        return x, y


def approach(target: Floats, last: float, period: float, near: float) -> Floats:
    """Times of successive samples that move from where `last` left off onto `target`, STRAY of a period at a
    time.

    Farther off than `near` the target is taken at once.
    """
    ahead = last + period - float(target[0])
    if abs(ahead) > near:
        return target
    left = abs(ahead) - STRAY * period * np.arange(1, len(target) + 1)
    short: Floats = np.maximum(left, 0.0)
    return target + math.copysign(1.0, ahead) * short


class Group:
    """Successive samples and the most punctual: the least stamp, period taken off; of equals the later."""

    __slots__ = ("count", "first", "index", "lead", "stamp")

    def __init__(self, first: int) -> None:
        self.first = self.index = first
        self.count = 0
        self.stamp = 0.0
        self.lead = math.inf

    def enter(self, index: Indices, stamps: Floats, period: float) -> None:
        """Samples by number and stamp (ms); `period` is ms a sample."""
        leads = stamps - period * (index - self.first)
        at = len(leads) - 1 - int(leads[::-1].argmin())
        if leads[at] <= self.lead:
            self.lead, self.stamp, self.index = float(leads[at]), float(stamps[at]), int(index[at])
        self.count += len(stamps)

    def delay(self, by: float) -> None:
        self.stamp += by
        self.lead += by


class Arrivals:
    """One stream's count and line; stamps and times in ms. `after`: the newest time already given out."""

    def __init__(self, *, packets: bool = False, after: float = -math.inf) -> None:
        self._packets = packets
        self._last = after
        self._points = Points()
        self._line: Line | None = None
        self._index = 0
        self._group = Group(0)
        self._size = 1
        self._held: list[tuple[int, float]] = []
        self._held_since = 0.0
        self._lateness = math.inf

    @property
    def waiting(self) -> bool:
        return bool(self._held)

    def learn(self, stamps: Floats) -> None:
        """Stamps of samples that were given out before anybody knew better."""
        last = self._last
        self.add(stamps, np.zeros_like(stamps))
        self._held, self._last = [], last

    def add(self, stamps: Floats, values: Floats) -> list[Timed]:
        """Stamps and values [n] as they came -> (time, value) of those whose time is settled."""
        out: list[Timed] = []
        start = 0
        for end in self._cuts(stamps):
            out += self._part(stamps[start:end], values[start:end])
            start = end
        return out

    def release(self) -> list[Timed]:
        """Nothing comes soon: what was held, after what was lost; at a guessed period if none is known."""
        if not self._held:
            return []
        if self._line is None:
            self._line = Line(GUESS_MS, self._group.stamp - GUESS_MS * self._group.index)
        return self._settle(self._line, self._lost(self._line.slope))

    def _cuts(self, stamps: Floats) -> list[int]:
        """Where groups end, and the end."""
        if self._packets:
            return [*(np.flatnonzero(stamps[1:] != stamps[:-1]) + 1).tolist(), len(stamps)]
        return [*range(GROUP - self._group.count % GROUP, len(stamps), GROUP), len(stamps)]

    def _part(self, stamps: Floats, values: Floats) -> list[Timed]:
        """Samples of one group, not necessarily all of it."""
        group = self._group
        if group.count and (stamps[0] != group.stamp if self._packets else group.count >= GROUP):
            self._close(group, float(stamps[0]))
            group = self._group = Group(self._index)
        index = np.arange(self._index, self._index + len(stamps), dtype=np.int64)
        line = self._line
        if line is None:
            group.enter(index, stamps, 0.0)
            self._index += len(stamps)
            self._held += zip(index.tolist(), values.tolist(), strict=True)
            return []
        late = stamps - line.over(index)
        if late.min() < -EARLY_MS:
            return self._set_back(line, int((late < -EARLY_MS).argmax()), stamps, values)
        if self._packets:
            late[:] = stamps[0] - line.at(max(int(index[-1]), group.first + self._size - 1))
        group.enter(index, stamps, line.slope)
        self._index += len(stamps)
        return self._place(line, index, stamps, values, late)

    def _place(self, line: Line, index: Indices, stamps: Floats, values: Floats, late: Floats) -> list[Timed]:
        """Give out what is punctual; hold what is late until a punctual one tells a stall, or time a loss."""
        if not self._held and late.max() <= _limit(line.slope):
            return self._timed(line, index, values)
        out: list[Timed] = []
        for i, stamp in enumerate(stamps.tolist()):
            if late[i] <= _limit(line.slope):
                out += self._settle(line, 0)
                out += self._timed(line, self._index - len(index) + np.arange(i, i + 1), values[i : i + 1])
                continue
            if not self._held:
                self._held_since, self._lateness = stamp, math.inf
            self._lateness = min(self._lateness, float(late[i]))
            self._held.append((self._index - len(index) + i, float(values[i])))
            if stamp - self._held_since >= max(PATIENCE_MS, PATIENCE_GROUPS * self._size * line.slope):
                lost = self._lost(line.slope)
                out += self._settle(line, lost)
                line = self._line or line
                late -= lost * line.slope
        return out

    def _lost(self, period: float) -> int:
        """How many samples the lateness of all that is held stands for; packets are lost whole."""
        if not _limit(period) < self._lateness < math.inf:
            return 0
        lost = round(self._lateness / period)
        whole = self._size * round(lost / self._size)
        return whole if abs(lost - whole) <= 0.35 * self._size else lost

    def _settle(self, line: Line, lost: int) -> list[Timed]:
        held, self._held = self._held, []
        line = self._delay(line, lost)
        if not held:
            return []
        return self._timed(line, np.array([i for i, _ in held]), np.array([value for _, value in held]))

    def _delay(self, line: Line, lost: int) -> Line:
        """Samples are missing here: from now on the line is later by their number."""
        if lost:
            by = lost * line.slope
            line = self._line = Line(line.slope, line.intercept + by)
            self._points.delay(by)
            self._group.delay(by)
            self._last += by
        return line

    def _timed(self, line: Line, index: Indices, values: Floats) -> list[Timed]:
        """Successive samples on the line, or on the way to it."""
        times = approach(line.over(index), self._last, line.slope, EARLY_MS)
        self._last = float(times[-1])
        return list(zip(times.tolist(), values.tolist(), strict=True))

    def _close(self, group: Group, stamp: float) -> None:
        """A group is whole: its most punctual sample joins the fit, unless its delay is not yet explained."""
        self._size = group.count if self._packets else 1
        if self._line is None:
            period = min(max((stamp - group.stamp) / group.count, SHORTEST_MS), LONGEST_MS)
            self._line = Line(period, group.stamp - period * group.index)
        elif self._held:
            return
        elif not self._packets:
            lost = self._few_lost(self._line, group)
            self._delay(self._line, lost)
            group.delay(-lost * self._line.slope)
        self._points.add(group.index, group.stamp)
        line = late_discounted(*self._points.xy, self._line)
        if SHORTEST_MS <= line.slope <= LONGEST_MS:
            self._line = line

    def _few_lost(self, line: Line, group: Group) -> int:
        """Where even the most punctual of a group is late by a period, samples are missing before it."""
        late = group.stamp - line.at(group.index)
        return round(late / line.slope) if late > 0.6 * line.slope and len(self._points) >= KNOWN_WELL else 0

    def _set_back(self, line: Line, at: int, stamps: Floats, values: Floats) -> list[Timed]:
        """Begin anew where the clock was set back, with the period known."""
        out = self._part(stamps[:at], values[:at]) if at else []
        self._points = Points()
        self._group = Group(self._index)
        self._line = Line(line.slope, float(stamps[at]) - line.slope * (self._index + self._size - 1))
        self._last = -math.inf
        return out + self._part(stamps[at:], values[at:])


def _limit(period: float) -> float:
    return max(LATE_MS, LATE_PERIODS * period)
