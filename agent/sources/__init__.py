"""Where samples come from. A source runs until it fails or is through, and hands what it reads to a sink.

Times are the host's monotonic clock in ns, accelerations m/s² with gravity; no source knows the time of day.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class SensorInfo(NamedTuple):
    """What is known of the sensor: `kind` is the part or the sort of recording, the rest may be unknown."""

    name: str
    kind: str
    rate_hz: float | None = None
    range_g: float | None = None


class Reading(NamedTuple):
    """`t_ns` float64[n], `xyz` float64[n, 3] m/s²; `lost` samples are missing before these by the sensor's count.

    `error_ms`: how far the times may be off; `tick`: the sensor's own counter at the newest sample, `tick_ns` long each
    (None: it has no clock, and the counter is that of its samples).
    """

    t_ns: Floats
    xyz: Floats
    arrival_ns: int
    lost: int = 0
    error_ms: float | None = None
    tick: int | None = None
    tick_ns: float | None = None


class EcgReading(NamedTuple):
    """An electrocardiogram beside the samples, on the same clock: `t_ns` and `microvolts` float64[n]."""

    t_ns: Floats
    microvolts: Floats
    rate_hz: float
    lost: int = 0


class Sink(Protocol):
    """Called on the event loop."""

    def sensor(self, info: SensorInfo) -> None: ...

    def samples(self, reading: Reading) -> None: ...


class Source(Protocol):
    name: str

    async def run(self, sink: Sink) -> None:
        """Read until through (a recording) or until something fails: SourceError, and the supervisor runs it again."""
        ...

    async def set_rate(self, hz: float) -> float:
        """The rate now in effect, Hz; CommandRefused when it cannot be set."""
        ...

    async def identify(self) -> SensorInfo:
        """Ask the sensor anew who it is; CommandRefused when there is nobody to ask."""
        ...

    @property
    def samples(self) -> int:
        """How many were read since the start."""
        ...

    def figures(self) -> dict[str, Any]:
        """Counts for status."""
        ...


Monotonic = Callable[[], int]
