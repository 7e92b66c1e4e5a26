"""Where samples come from. A source runs until it fails or ends, and passes what it reads to a sink.

Times are the host's monotonic clock in ns; accelerations are in m/s² including gravity. No source knows the time of
day.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class SensorInfo(NamedTuple):
    """What is known about the sensor: `kind` is the part or the kind of recording; the rest may be unknown."""

    name: str
    kind: str
    rate_hz: float | None = None
    range_g: float | None = None


class Reading(NamedTuple):
    """`t_ns` float64[n]; `xyz` float64[n, 3] in m/s²; `lost`: samples missing before these by the sensor's own count.

    `error_ms`: how far the times may be off. `tick`: the sensor's counter at the newest sample; `tick_ns`: length of a
    tick, or None for a sensor without a clock, whose counter counts samples.
    """

    t_ns: Floats
    xyz: Floats
    arrival_ns: int
    lost: int = 0
    error_ms: float | None = None
    tick: int | None = None
    tick_ns: float | None = None


class EcgReading(NamedTuple):
    """An electrocardiogram on the same clock as the samples: `t_ns` and `microvolts` float64[n]."""

    t_ns: Floats
    microvolts: Floats
    rate_hz: float
    lost: int = 0


class Sink(Protocol):
    """What a source passes its readings to; called on the event loop."""

    def sensor(self, info: SensorInfo) -> None: ...

    def samples(self, reading: Reading) -> None: ...


class Source(Protocol):
    name: str

    async def run(self, sink: Sink) -> None:
        """Read until a recording ends, or something fails with SourceError, after which the supervisor calls
        it again.
        """
        ...

    async def set_rate(self, hz: float) -> float:
        """Set the rate; returns the one now in effect, in Hz. CommandRefused when it cannot be set."""
        ...

    async def identify(self) -> SensorInfo:
        """Ask the sensor to identify itself again; CommandRefused when none can answer."""
        ...

    @property
    def samples(self) -> int:
        """Number of samples read since the start."""
        ...

    def figures(self) -> dict[str, Any]:
        """Counts for status."""
        ...


Monotonic = Callable[[], int]
