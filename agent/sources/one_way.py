"""The least time that a packet takes from sensor to host, which one-way stamps cannot reveal, measured by pings.

A ping gives the difference of device and host clock to within half its round trip (RFC 5905 section 8); the shortest of
a burst is the best. Comparing packets that arrived around it with that difference gives the delay of the least delayed
one.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

AROUND_NS = 4_000_000_000
"""Packets within this time of the ping are used: a drift of 100 ppm adds at most 0.4 ms."""
BURSTS_KEPT = 8


class _Best(NamedTuple):
    round_trip_ns: float
    behind_ns: float
    at_ns: int


class OneWayDelay:
    """All times in ns, device times nominal. `estimate` is None until a ping and packets around it were seen."""

    def __init__(self) -> None:
        self._lags: deque[tuple[int, float]] = deque()
        self._best: _Best | None = None
        self._known: deque[float] = deque(maxlen=BURSTS_KEPT)

    def packet(self, device_ns: float, arrival_ns: int) -> None:
        """One pair per packet: the device time of its newest sample, and its arrival."""
        self._lags.append((arrival_ns, arrival_ns - device_ns))
        while self._lags[0][0] < arrival_ns - AROUND_NS:
            self._lags.popleft()

    def pong(self, offset_ns: float, round_trip_ns: float, arrival_ns: int) -> None:
        """`offset_ns`: device clock minus host clock, as measured by this ping."""
        if self._best is None or round_trip_ns < self._best.round_trip_ns:
            self._best = _Best(round_trip_ns, -offset_ns, arrival_ns)

    def estimate(self) -> float | None:
        """Call after a burst: the least delay in ns over this and the latest bursts."""
        if self._best is not None:
            lags = [lag for at, lag in self._lags if abs(at - self._best.at_ns) <= AROUND_NS]
            if lags:
                self._known.append(max(0.0, min(lags) - self._best.behind_ns))
            self._best = None
        return min(self._known, default=None)

    def restart(self) -> None:
        """The device's clock restarted: earlier estimates stay valid, measurements against the old clock are
        discarded.
        """
        self._lags.clear()
        self._best = None
