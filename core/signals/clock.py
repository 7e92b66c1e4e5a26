"""The time of each sample, from the sensor's own counter and the moments at which its packets reached the host.

An arrival is the sample's time plus a delay that is never negative, so the line under all arrivals is the clock. Two
estimators with different weaknesses must agree on it; their difference is the error bar. Within a segment times rise
with the ticks; a counter that jumps begins a new segment.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.signals.arrivals import KNOWN_WELL, Points, approach
from core.signals.line import Line, late_discounted, lower_hull, theil_sen

Floats = NDArray[np.float64]

BIN_NS = 1e9
"""One minimum per second: enough to follow a crystal, few enough to compare all pairs (Paxson 1998)."""

JUMP_NS = 1e9
LATE_BINS = 5
"""Ticks this far ahead of their arrival, or behind it for LATE_BINS seconds, show that the counter jumped."""

PRIOR_RATE = 1e-2
MOST_OFF = 0.05
"""Sampling rates derived from a sensor's own oscillator: mostly within 1 % of nominal, never more than 5 % off."""

MISSING_NS = 100e6
MISSING_PACKETS = 0.6
MISSING_TOLD = 3
"""Three packets in a row, late by more than 0.6 packets and six spreads (100 ms until a spread is known), show that
samples are missing."""

ENOUGH = 3
PRIOR_SKEW = 1e-4
"""Crystals stay within 100 ppm of nominal; a skew measured over too short a time is weighed against that."""

OUTLIER_NS = 5e6
SLEW = 0.05
SPREAD_NS = 1e9
"""A better fit is approached at 5 % at most and over at least a second, so that intervals stay true."""


class Fit(NamedTuple):
    """Line of arrival minus device time over device time, in ns since the segment began; and its error bar."""

    line: Line
    error_ns: float | None


def fit_clock(x: Floats, y: Floats) -> Fit:
    """The line under the minima: an edge of the lower hull, cross-checked by Theil-Sen, which also removes early
    outliers.

    x: device time, rising; y: least arrival minus device time of each second; both ns [n >= 1]. The error bar is the
    largest difference between the two lines at either end, plus the spread of the minima; None for fewer than three
    points.
    """
    robust = theil_sen(x, y)
    off = y - robust.over(x)
    spread = 1.4826 * float(np.median(np.abs(off)))
    honest = off >= -(OUTLIER_NS + 6.0 * spread)
    hull = lower_hull(x[honest], y[honest])
    trust = _trust(hull.slope, spread, float(x[-1] - x[0]), len(x), PRIOR_SKEW)
    lower = _under(hull.slope * trust, x[honest], y[honest])
    slope = robust.slope * trust
    middle = Line(slope, float(np.median(y - slope * x)))
    if len(x) < ENOUGH:
        return Fit(lower, None)
    apart = max(abs(lower.at(end) - middle.at(end)) for end in (float(x[0]), float(x[-1])))
    return Fit(lower, apart + spread)


def _trust(slope: float, spread: float, span: float, n: int, prior: float) -> float:
    """Share of a measured slope to believe: its square, or that of the larger prior, against its squared standard
    error.
    """
    if span <= 0.0:
        return 0.0
    doubt = 12.0 * spread**2 / (span**2 * n)
    expected = max(prior**2, slope**2 - doubt)
    return expected / (expected + doubt)


def _under(slope: float, x: Floats, y: Floats) -> Line:
    return Line(slope, float((y - slope * x).min()))


class DeviceClock:
    """Maps a device's 64-bit counter to the host's monotonic clock. `tick_ns`: nominal length of a tick.

    The decoder must unwrap counters of fewer bits. Without `set_delay` all times are late by the least one-way delay,
    which one-way stamps cannot reveal; `error_ms` does not include it.
    """

    def __init__(self, tick_ns: float, *, window_s: float = 60.0) -> None:
        self.error_ms: float | None = None
        self.segment = 0
        self._tick_ns = tick_ns
        self._bins = max(int(window_s * 1e9 / BIN_NS), ENOUGH)
        self._delay = 0.0
        self._last_tick: int | None = None
        self._mapped = -math.inf

    def observe(self, tick: int, arrival_ns: int) -> bool:
        """Take one pair per packet: the tick of its newest sample, and its arrival on the host's monotonic clock.

        True when the counter jumped relative to the arrivals (device restarted, clock set) and a new segment began.
        Transports keep order, so a lower tick means a restart; a repeated tick is ignored.
        """
        if self._last_tick is None:
            self._begin(tick, arrival_ns)
            return False
        step = _signed(tick - self._last_tick)
        if step == 0:
            return False
        x = _signed(tick - self._tick0) * self._tick_ns
        y = arrival_ns - self._arrival0 - x
        if step < 0 or y - self._line.at(x) < -JUMP_NS or self._paused(x, y, arrival_ns):
            self._begin(tick, arrival_ns)
            return True
        self._last_tick = tick
        self._enter(x, y, int((arrival_ns - self._arrival0) // BIN_NS))
        return False

    def set_delay(self, ns: float) -> None:
        """Set the least one-way delay in ns, as measured by two-way pings; it is subtracted from all times
        from now on.
        """
        if self._last_tick is None:
            self._delay = ns
        else:
            self._aim(self._line, ns)

    def to_ns(self, ticks: NDArray[np.int64] | NDArray[np.uint64]) -> Floats:
        """Host-monotonic ns for each tick; rising with the ticks, also across calls, within a segment.

        Raises ValueError before the first `observe`.
        """
        if self._last_tick is None:
            raise ValueError("no packet was observed yet: call observe() with a tick and its arrival first")
        since = (np.asarray(ticks).astype(np.uint64) - np.uint64(self._tick0 % 2**64)).view(np.int64)
        x = since.astype(np.float64) * self._tick_ns
        if len(x):
            self._mapped = max(self._mapped, float(x.max()))
        return self._arrival0 + self._given(x)

    def _begin(self, tick: int, arrival_ns: int) -> None:
        self.segment += 1
        self.error_ms = None
        self._tick0 = self._last_tick = tick
        self._arrival0 = arrival_ns
        self._minima: deque[tuple[float, float]] = deque(maxlen=self._bins)
        self._minima.append((0.0, 0.0))
        self._bin = 0
        self._late: list[tuple[int, float]] = []
        self._line = Line(0.0, 0.0)
        self._mapped = self._from = -math.inf
        self._off = 0.0
        self._over = SPREAD_NS

    def _paused(self, x: float, y: float, arrival_ns: int) -> bool:
        """Whether arrivals have been late for LATE_BINS seconds without recovering: the counter stood still; it is no
        backlog.
        """
        lateness = y - self._line.at(x)
        if lateness < JUMP_NS:
            self._late.clear()
            return False
        second = int(arrival_ns // BIN_NS)
        if not self._late or self._late[-1][0] != second:
            self._late.append((second, lateness))
        recovering = lateness < 0.9 * self._late[0][1]
        return second - self._late[0][0] >= LATE_BINS and not recovering

    def _enter(self, x: float, y: float, second: int) -> None:
        if second != self._bin:
            self._bin = second
            self._fit()
            self._minima.append((x, y))
        elif y < self._minima[-1][1]:
            self._minima[-1] = x, y
        else:
            return
        if y < self._line.at(x):
            self._fit()

    def _fit(self) -> None:
        x, y = np.array(self._minima).T
        line, error = fit_clock(x, y)
        self.error_ms = None if error is None else error / 1e6
        self._aim(line, self._delay)

    def _aim(self, line: Line, delay: float) -> None:
        """Take a new line, keeping its difference at the newest time given out, which then decays."""
        here = np.full(1, self._mapped)
        known = self._mapped > -math.inf
        before = float(self._given(here)[0]) if known else 0.0
        self._line, self._delay = line, delay
        if known:
            self._from = self._mapped
            self._off = before - float(self._target(here)[0])
            self._over = max(SPREAD_NS, abs(self._off) / SLEW)

    def _given(self, x: Floats) -> Floats:
        wear = 1.0 - (x - self._from) / self._over
        return self._target(x) + self._off * np.clip(wear, 0.0, 1.0)

    def _target(self, x: Floats) -> Floats:
        return x + self._line.over(x) - self._delay


def _signed(difference: int) -> int:
    """A difference of 64-bit counters, across their wrap."""
    return (difference + 2**63) % 2**64 - 2**63


class PacketClock:
    """Sample times for a sensor without a counter, from packet arrivals and a nominal rate that may be off by 5 %.

    Samples are counted and a line is fitted through (count, arrival), discounting late arrivals. All times remain late
    by the delay of a punctual packet. Packets that never arrived show as persistent lateness, and are skipped.
    """

    def __init__(self, rate_hz: float) -> None:
        self.error_ms: float | None = None
        self._nominal = 1e9 / rate_hz
        self._line = Line(self._nominal, 0.0)
        self._points = Points()
        self._origin: int | None = None
        self._count = 0
        self._last = -math.inf
        self._late: list[float] = []
        self._doubt = MISSING_NS

    def observe(self, count: int, arrival_ns: int) -> Floats:
        """A packet of `count` >= 1 samples; returns their host-monotonic times in ns [count], always rising."""
        if self._origin is None:
            self._origin = arrival_ns
            self._line = Line(self._nominal, -self._nominal * (count - 1))
        index = np.arange(self._count, self._count + count, dtype=np.int64)
        self._count += count
        self._learn(self._count - 1, float(arrival_ns - self._origin), count)
        times = approach(self._line.over(index), self._last, self._line.slope, near=JUMP_NS)
        self._last = float(times[-1])
        return self._origin + times

    def _learn(self, index: int, arrival: float, count: int) -> None:
        late = arrival - self._line.at(index)
        if late < -JUMP_NS:
            self._move(late)
        elif late > max(self._doubt, MISSING_PACKETS * count * self._nominal):
            self._late.append(late)
            if len(self._late) >= MISSING_TOLD:
                self._move(min(self._late))
            return
        self._late.clear()
        self._points.add(index, arrival)
        self._fit(*self._points.xy)

    def _move(self, by: float) -> None:
        """Shift the line, keeping its slope: samples are missing, or the host's clock was set."""
        by = self._nominal * round(by / self._nominal)
        self._line = Line(self._line.slope, self._line.intercept + by)
        self._points.delay(by)
        self._last += max(by, 0.0)

    def _fit(self, x: Floats, y: Floats) -> None:
        free = late_discounted(x, y, self._line)
        spread = 1.4826 * float(np.median(np.abs(y - free.over(x))))
        skew = free.slope / self._nominal - 1.0
        trust = _trust(skew, spread / self._nominal, float(x[-1] - x[0]), len(x), PRIOR_RATE)
        slope = self._nominal * (1.0 + min(max(skew * trust, -MOST_OFF), MOST_OFF))
        middle = float(x.mean())
        self._line = Line(slope, free.at(middle) - slope * middle)
        if len(x) >= KNOWN_WELL:
            self.error_ms = 2.0 * spread / math.sqrt(len(x)) / 1e6
            self._doubt = 6.0 * spread
