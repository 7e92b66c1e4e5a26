"""Who made a stream's stamps, and the samples' times if it was not the sensor.

A sensor's own stamps are used unchanged. Stamps made on arrival can be recognised: some samples seem to follow within
half a period, or a whole packet at once, which no sensor does. Such a stamp is the true time plus a delay, and
core.signals.arrivals computes the times.
"""

from __future__ import annotations

import math
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from core.signals.arrivals import Arrivals, Timed

Floats = NDArray[np.float64]

BLOCK = 128
"""Intervals judged together, however the samples were pushed."""

SHORT = 0.5
SUSPICIOUS = 4
"""From four (3 % of a block) on, intervals below half of the usual one show host stamps. Exponential delays of 3 ms at
100 Hz give 6 %, a sensor whose sampling truly jitters by 1 ms 0.02 %, a change of rate a single interval."""

PUNCTUAL_BLOCKS = 3
AT_ONCE = 4
"""A push of at least this many samples, half of which repeat the previous stamp, is packet-stamped; no
block is needed."""


class StampKind(Enum):
    """What the stamps of samples stand for."""

    SENSOR = "each sample carries the time the sensor took it"
    HOST = "each sample carries the time it reached a host"
    PACKET = "all samples of a packet carry the time it reached a host"


class Stamps:
    """Turns stamps into times. `kind` is what the stream was last recognised as."""

    def __init__(self) -> None:
        self.kind = StampKind.SENSOR
        self._arrivals = Arrivals()
        self._seen_t: list[float] = []
        self._seen_v: list[float] = []
        self._punctual = 0
        self._newest = -math.inf

    @property
    def waiting(self) -> bool:
        return self._arrivals.waiting

    def times(self, t: Floats, v: Floats) -> list[Timed]:
        """Finite stamps and values [n] in order of arrival; returns (time, value) of all whose time is settled
        by now.
        """
        out: list[Timed] = []
        for start in range(0, len(t), BLOCK):
            out += self._part(t[start : start + BLOCK], v[start : start + BLOCK])
        return out

    def release(self) -> list[Timed]:
        """The stream is idle: return what still waits, at the best known times."""
        return self._arrivals.release()

    def _part(self, t: Floats, v: Floats) -> list[Timed]:
        if self.kind is StampKind.SENSOR and _at_once(t, v):
            self._become(StampKind.PACKET)
        if self.kind is StampKind.SENSOR:
            out = list(zip(t.tolist(), v.tolist(), strict=True))
            self._newest = max(self._newest, float(t.max()))
        else:
            out = self._arrivals.add(t, v)
        self._watch(t, v)
        return out

    def _watch(self, t: Floats, v: Floats) -> None:
        self._seen_t += t.tolist()
        self._seen_v += v.tolist()
        while len(self._seen_t) > BLOCK:
            stamps, values = np.array(self._seen_t[: BLOCK + 1]), np.array(self._seen_v[: BLOCK + 1])
            steps, changes = np.diff(stamps), np.diff(values)
            self._judge(steps[(steps != 0.0) | (changes != 0.0)])
            del self._seen_t[:BLOCK], self._seen_v[:BLOCK]

    def _judge(self, steps: Floats) -> None:
        """Judge a block's intervals, repeated samples left out."""
        onward = steps[steps > 0.0]
        if not len(onward):
            return
        usual = np.minimum((steps[:-2] + steps[2:]) / 2.0, np.median(onward))
        short = int(((steps[1:-1] >= 0.0) & (steps[1:-1] < SHORT * usual)).sum())
        self._punctual = 0 if short else self._punctual + 1
        if 2 * len(onward) <= len(steps):
            self._become(StampKind.PACKET)
        elif short >= SUSPICIOUS:
            self._become(StampKind.HOST)
        elif self._punctual >= PUNCTUAL_BLOCKS:
            self.kind = StampKind.SENSOR

    def _become(self, kind: StampKind) -> None:
        if self.kind is kind:
            return
        self.kind = kind
        self._arrivals = Arrivals(packets=kind is StampKind.PACKET, after=self._newest)
        if kind is StampKind.HOST:
            self._arrivals.learn(np.array(self._seen_t))


def _at_once(t: Floats, v: Floats) -> bool:
    """Whether at least half of a push repeats the previous sample's stamp with another value: one or more whole
    packets.
    """
    same = t[1:] == t[:-1]
    if len(t) < AT_ONCE or not same.any():
        return False
    return 2 * int((same & (v[1:] != v[:-1])).sum()) >= len(same)
