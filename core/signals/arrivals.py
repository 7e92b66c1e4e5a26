"""Sample times for samples that carry only the time at which they, or their packet, reached a host.

An arrival is late by a delay of at least zero. Samples are counted and a line (time over count) is fitted through the
least delayed stamp of each group; every sample gets its time from that line. An improved fit is approached gradually,
so that intervals stay close to the period. If all stamps stay late, samples were lost, and the count skips them.
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
"""Samples per group of a host-stamped stream, of which the least delayed one is fitted; each packet is
its own group."""

WINDOW = 256
"""Groups in the fit: 41 s of host stamps at 100 Hz, 52 s of packets of 20."""

KNOWN_WELL = 16
"""Groups after which the fit is good enough to detect a single lost sample."""

STRAY = 0.25
GUESS_MS = 10.0
SHORTEST_MS = 0.5
LONGEST_MS = 110.0
"""Periods accepted: streams of 10 to 1000 Hz, with room for a sensor that runs fast or slow."""

LATE_MS = 100.0
LATE_PERIODS = 3.0
"""Lateness from which it is a stall or a loss. Samples then wait PATIENCE_MS, or PATIENCE_GROUPS, until it is clear
which."""
PATIENCE_MS = 150.0
PATIENCE_GROUPS = 2.5

EARLY_MS = 250.0
"""Delays are never negative: a stamp this early means that the clock was set back."""


class Points:
    """The latest WINDOW points in one array, moved to its front whenever it is full."""

    def __init__(self) -> None:
        self._xy = np.empty((2, 2 * WINDOW))
        self._end = 0

    def __len__(self) -> int:
        return min(self._end, WINDOW)

    def add(self, x: float, y: float) -> None:
        """Add a point; the oldest beyond WINDOW is forgotten."""
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
    """Times [n] of successive samples that move from where `last` ended onto `target`, by STRAY of a period per sample.

    A target further away than `near` is taken at once.
    """
    ahead = last + period - float(target[0])
    if abs(ahead) > near:
        return target
    left = abs(ahead) - STRAY * period * np.arange(1, len(target) + 1)
    short: Floats = np.maximum(left, 0.0)
    return target + math.copysign(1.0, ahead) * short


class Group:
    """Successive samples and the least delayed among them (stamp minus count times period); of equals, the later."""

    __slots__ = ("count", "first", "index", "lead", "stamp")

    def __init__(self, first: int) -> None:
        self.first = self.index = first
        self.count = 0
        self.stamp = 0.0
        self.lead = math.inf

    def enter(self, index: Indices, stamps: Floats, period: float) -> None:
        """Add samples by number and stamp (ms); `period` is in ms."""
        leads = stamps - period * (index - self.first)
        at = len(leads) - 1 - int(leads[::-1].argmin())
        if leads[at] <= self.lead:
            self.lead, self.stamp, self.index = float(leads[at]), float(stamps[at]), int(index[at])
        self.count += len(stamps)

    def delay(self, by: float) -> None:
        self.stamp += by
        self.lead += by


class Arrivals:
    """The count and fitted line of one stream; stamps and times in ms. `after`: the newest time already given out."""

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
        """Fit stamps of samples whose times were given out before the stream was recognised as host-stamped."""
        last = self._last
        self.add(stamps, np.zeros_like(stamps))
        self._held, self._last = [], last

    def add(self, stamps: Floats, values: Floats) -> list[Timed]:
        """Stamps and values [n] in order of arrival; returns (time, value) of the samples whose time is settled."""
        out: list[Timed] = []
        start = 0
        for end in self._cuts(stamps):
            out += self._part(stamps[start:end], values[start:end])
            start = end
        return out

    def release(self) -> list[Timed]:
        """No more samples for now: return those held, after any that were lost.

        A period is guessed if none is known.
        """
        if not self._held:
            return []
        if self._line is None:
            self._line = Line(GUESS_MS, self._group.stamp - GUESS_MS * self._group.index)
        return self._settle(self._line, self._lost(self._line.slope))

    def _cuts(self, stamps: Floats) -> list[int]:
        """The indices at which groups end, and the end of the array."""
        if self._packets:
            return [*(np.flatnonzero(stamps[1:] != stamps[:-1]) + 1).tolist(), len(stamps)]
        return [*range(GROUP - self._group.count % GROUP, len(stamps), GROUP), len(stamps)]

    def _part(self, stamps: Floats, values: Floats) -> list[Timed]:
        """Add samples of one group, not necessarily all of it."""
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
        """Return punctual samples; hold late ones until a punctual one shows that it was a stall, or waiting shows a
        loss.
        """
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
        """Number of samples that the lateness of all held samples stands for; packets are lost as a whole."""
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
        """Shift the line by `lost` samples, which are missing here."""
        if lost:
            by = lost * line.slope
            line = self._line = Line(line.slope, line.intercept + by)
            self._points.delay(by)
            self._group.delay(by)
            self._last += by
        return line

    def _timed(self, line: Line, index: Indices, values: Floats) -> list[Timed]:
        """Times of successive samples on the line, or approaching it."""
        times = approach(line.over(index), self._last, line.slope, EARLY_MS)
        self._last = float(times[-1])
        return list(zip(times.tolist(), values.tolist(), strict=True))

    def _close(self, group: Group, stamp: float) -> None:
        """Close a group: its least delayed sample joins the fit, unless samples are being held, their delay not yet
        explained.
        """
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
        """Samples lost before this group: even its least delayed sample is late by more than 0.6 of a period."""
        late = group.stamp - line.at(group.index)
        return round(late / line.slope) if late > 0.6 * line.slope and len(self._points) >= KNOWN_WELL else 0

    def _set_back(self, line: Line, at: int, stamps: Floats, values: Floats) -> list[Timed]:
        """Start anew where the clock was set back, keeping the period."""
        out = self._part(stamps[:at], values[:at]) if at else []
        self._points = Points()
        self._group = Group(self._index)
        self._line = Line(line.slope, float(stamps[at]) - line.slope * (self._index + self._size - 1))
        self._last = -math.inf
        return out + self._part(stamps[at:], values[at:])


def _limit(period: float) -> float:
    return max(LATE_MS, LATE_PERIODS * period)
