"""Lines of numbers as sketches print them: `t,x,y,z` or `x,y,z`, separated by commas, semicolons, tabs or spaces.

Accelerations in g (or m/s²), times in ms or µs of the board's clock. There is no checksum: any other line, headers and
comments included, counts as damage. Our own frame format is the better choice where there is one.
"""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np

from firmware_bridge.decoders import Counters, Event, Samples
from firmware_bridge.errors import Damage
from firmware_bridge.framing import KEPT_OF_DAMAGED, Damaged
from firmware_bridge.spacing import Spacing

MAX_LINE = 200
WILD_G = 1000.0
MOST_TICKS = 1e15
STANDARD_GRAVITY = 9.80665
RANGE_UNKNOWN_G = 16.0
"""Reported with the samples, since lines do not state their range; wide enough for any chest."""
_SPLIT = re.compile(rb"[,;\t ]+")


class CsvLines:
    """`timed`: the first of four columns is the time, whole or not, in units of `unit_ns`; otherwise there are three.

    Ticks are thousandths of that unit. Without times the samples are numbered, and `tick_ns` is None.
    """

    def __init__(
        self, rate_hz: float = 100.0, *, timed: bool = True, unit_ns: float = 1e6, metric: bool = False
    ) -> None:
        self.counters = Counters(damaged=Counter())
        self.tick_ns: float | None = unit_ns / 1000 if timed else None
        self._timed, self._scale = timed, 1 / STANDARD_GRAVITY if metric else 1.0
        self.rate_hz = rate_hz
        self._spacing = Spacing(1e12 / (rate_hz * unit_ns), quantum=1000.0)
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes, arrival_ns: int) -> list[Event]:
        *lines, rest = (self._rest + data).split(b"\n")
        if self._skipping and lines:
            lines[0], self._skipping = b"", False
        found = [self._line(line.strip(), arrival_ns) for line in lines if line.strip()]
        if len(rest) > MAX_LINE and not self._skipping:
            self._skipping = True
            found.append(self._damage(Damage.TOO_LONG, rest))
        self._rest = b"" if self._skipping else rest
        return found

    def break_off(self) -> None:
        self._rest, self._skipping = b"", False

    def _line(self, line: bytes, arrival_ns: int) -> Event:
        fields = _SPLIT.split(line)
        if len(line) > MAX_LINE or len(fields) != 3 + self._timed:
            return self._damage(Damage.LENGTH, line)
        try:
            values = [float(field) for field in fields]
        except ValueError:
            return self._damage(Damage.KIND, line)
        acc_g = np.array(values[-3:]) * self._scale
        if not all(map(math.isfinite, values)) or np.abs(acc_g).max() > WILD_G or abs(values[0]) > MOST_TICKS:
            return self._damage(Damage.VALUE, line)
        self.counters.frames += 1
        return self._sample(values[0] * 1000, acc_g.reshape(1, 3), arrival_ns)

    def _sample(self, tick: float, acc_g: np.ndarray, arrival_ns: int) -> Samples:
        number = self.counters.samples
        self.counters.samples += 1
        if not self._timed:
            ticks = np.array([number], np.int64)
            return Samples(number, ticks, acc_g, self.rate_hz, RANGE_UNKNOWN_G, 0, arrival_ns)
        placed = self._spacing.place(tick, 1)
        self.counters.lost += placed.lost
        self.counters.restarts += placed.restarted
        return Samples(number, placed.ticks, acc_g, self.rate_hz, RANGE_UNKNOWN_G, placed.lost, arrival_ns)

    def _damage(self, reason: Damage, line: bytes) -> Damaged:
        self.counters.damaged[reason] += 1
        return Damaged(reason, line[:KEPT_OF_DAMAGED])
