"""What any sensor's bytes mean, one module a sensor family: raw device ticks and g, no time of day, no filtering.

A decoder is fed bytes in any split with their arrival time and gives events. It never raises on what a line can bring:
damage is an event too, and counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import Damage
from firmware_bridge.framing import Damaged


class Samples(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Samples of one packet: `ticks` int64[n] of the device's clock, `acc_g` float64[n, 3] in g.

    `lost`: samples that the device's own counter says are missing before these. `arrival_ns` as given to `feed`.
    """

    seq: int
    ticks: NDArray[np.int64]
    acc_g: NDArray[np.float64]
    rate_hz: float
    range_g: float
    lost: int
    arrival_ns: int


class Identity(msgspec.Struct, frozen=True):
    """Who a device says it is: `tick_ns` is its clock's step, rates in Hz and ranges in g what it can be set to."""

    name: str
    firmware: str
    sensor: str
    tick_ns: float
    rates_hz: tuple[float, ...]
    ranges_g: tuple[float, ...]


class Pong(msgspec.Struct, frozen=True):
    """A device's answer to a ping: its clock at receipt and at sending, and when the answer arrived here."""

    token: int
    received_us: int
    sent_us: int
    arrival_ns: int

    @property
    def device_us(self) -> float:
        """The device's clock in the middle of its answering."""
        return (self.received_us + self.sent_us) / 2

    def round_trip_ns(self, sent_ns: int) -> int:
        """Time on the line, both ways, for a ping sent at `sent_ns`: delta of RFC 5905 section 8."""
        return (self.arrival_ns - sent_ns) - (self.sent_us - self.received_us) * 1000

    def offset_ns(self, sent_ns: int) -> float:
        """Device clock minus host clock, wrong by at most half the round trip: theta of RFC 5905 section 8."""
        return self.device_us * 1000 - (sent_ns + self.arrival_ns) / 2


class Reply(msgspec.Struct, frozen=True):
    """How a command went; `value` is the rate or range now in effect, `code` a ReplyCode or a later firmware's own."""

    command: int
    ok: bool
    code: int
    value: float


class Ecg(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An electrocardiogram beside the accelerometer: `ticks` as in Samples, `microvolts` float64[n]."""

    ticks: NDArray[np.int64]
    microvolts: NDArray[np.float64]
    rate_hz: float
    lost: int
    arrival_ns: int


Event = Samples | Identity | Pong | Reply | Ecg | Damaged


@dataclass(slots=True)
class Counters:
    """Since the decoder was made. `restarts`: times the device began anew, by its boot number or its counter."""

    frames: int = 0
    samples: int = 0
    lost: int = 0
    restarts: int = 0
    damaged: Counter[Damage] = field(default_factory=Counter)


class Decoder(Protocol):
    """One device's bytes; `tick_ns` is the nominal length of its clock's tick, None for a device that has none.

    Without a clock `ticks` number the samples, and arrivals alone tell the times.
    """

    tick_ns: float | None
    counters: Counters

    def feed(self, data: bytes, arrival_ns: int) -> list[Event]: ...

    def break_off(self) -> None:
        """The port was closed: forget a frame begun, keep the counters."""
        ...
