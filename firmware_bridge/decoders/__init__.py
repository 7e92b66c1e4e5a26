"""Decoding of sensors' bytes, one module per sensor family: raw device ticks and g, no time of day, no filtering.

A decoder takes bytes, however split, with their arrival time, and returns events. It never raises on any input: damage
is an event as well, and counted.
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

    `lost`: samples missing just before these by the device's own counter. `arrival_ns`: as given to `feed`.
    """

    seq: int
    ticks: NDArray[np.int64]
    acc_g: NDArray[np.float64]
    rate_hz: float
    range_g: float
    lost: int
    arrival_ns: int


class Identity(msgspec.Struct, frozen=True):
    """How a device describes itself: `tick_ns` is its clock's step; rates in Hz and ranges in g are those it can be set
    to.
    """

    name: str
    firmware: str
    sensor: str
    tick_ns: float
    rates_hz: tuple[float, ...]
    ranges_g: tuple[float, ...]


class Pong(msgspec.Struct, frozen=True):
    """A device's answer to a ping: its clock at receipt and at sending, and the arrival of the answer here."""

    token: int
    received_us: int
    sent_us: int
    arrival_ns: int

    @property
    def device_us(self) -> float:
        """The device's clock halfway between receipt and answer."""
        return (self.received_us + self.sent_us) / 2

    def round_trip_ns(self, sent_ns: int) -> int:
        """Time in transit, both ways, for a ping sent at `sent_ns`: delta of RFC 5905 section 8."""
        return (self.arrival_ns - sent_ns) - (self.sent_us - self.received_us) * 1000

    def offset_ns(self, sent_ns: int) -> float:
        """Device clock minus host clock, wrong by at most half the round trip: theta of RFC 5905 section 8."""
        return self.device_us * 1000 - (sent_ns + self.arrival_ns) / 2


class Reply(msgspec.Struct, frozen=True):
    """The result of a command; `value`: the rate or range now in effect;

    `code`: a ReplyCode, or one of a later firmware.
    """

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
    """Counts since the decoder was created. `restarts`: restarts of the device, seen by its boot number or
    its counter.
    """

    frames: int = 0
    samples: int = 0
    lost: int = 0
    restarts: int = 0
    damaged: Counter[Damage] = field(default_factory=Counter)


class Decoder(Protocol):
    """Decodes one device's bytes; `tick_ns` is the nominal length of its clock's tick, None for a device without a
    clock.

    Without a clock, `ticks` number the samples and only their arrivals give times.
    """

    tick_ns: float | None
    counters: Counters

    def feed(self, data: bytes, arrival_ns: int) -> list[Event]: ...

    def break_off(self) -> None:
        """The port was closed: forget an unfinished frame, keep the counters."""
        ...
