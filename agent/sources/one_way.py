"""The least time a packet takes from the sensor to the host, which one-way stamps cannot show: pings tell it.

A ping gives the device's clock against the host's to half its round trip (RFC 5905 section 8; the shortest of a
burst is the best). Packets that arrived around it give how late the least late of them was against that clock.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

AROUND_NS = 4_000_000_000
"""Packets this close to the ping: 100 ppm of drift make 0.4 ms in it at most."""
BURSTS_KEPT = 8


class _Best(NamedTuple):
    round_trip_ns: float
    behind_ns: float
    at_ns: int


class OneWayDelay:
    """All times in ns, the device's nominal. `estimate` is None until a ping and packets around it were seen."""

    def __init__(self) -> None:
        self._lags: deque[tuple[int, float]] = deque()
        self._best: _Best | None = None
        self._known: deque[float] = deque(maxlen=BURSTS_KEPT)

    def packet(self, device_ns: float, arrival_ns: int) -> None:
        """One pair per packet: the device's time of its newest sample, and the packet's arrival."""
        self._lags.append((arrival_ns, arrival_ns - device_ns))
        while self._lags[0][0] < arrival_ns - AROUND_NS:
            self._lags.popleft()

    def pong(self, offset_ns: float, round_trip_ns: float, arrival_ns: int) -> None:
        """`offset_ns`: device clock minus host clock as this ping tells it."""
        if self._best is None or round_trip_ns < self._best.round_trip_ns:
            self._best = _Best(round_trip_ns, -offset_ns, arrival_ns)

    def estimate(self) -> float | None:
        """After a burst: the least delay, ns, of this and the latest bursts."""
        if self._best is not None:
            lags = [lag for at, lag in self._lags if abs(at - self._best.at_ns) <= AROUND_NS]
            if lags:
                self._known.append(max(0.0, min(lags) - self._best.behind_ns))
            self._best = None
        return min(self._known, default=None)

    def restart(self) -> None:
        """The device's clock began anew: what is known of the line stays, what was measured against it goes."""
        self._lags.clear()
        self._best = None
