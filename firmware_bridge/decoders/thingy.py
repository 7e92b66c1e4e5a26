"""Nordic Thingy:52: the raw stream of its motion service, nine int16 values without a clock.

Source: Thingy:52 firmware documentation, motion service. The accelerometer comes first, 1024 per g.
"""

from __future__ import annotations

import struct

import numpy as np

from firmware_bridge.decoders import Counters, Event, Samples
from firmware_bridge.errors import Damage
from firmware_bridge.framing import KEPT_OF_DAMAGED, Damaged
from firmware_bridge.gatt import Family, Plan, Write, listed


def _own(number: int) -> str:
    return f"ef68{number:04x}-9b35-4933-9b10-52ffa9740042"


ADVERTISED, CONFIG, RAW = _own(0x0100), _own(0x0401), _own(0x0406)
RATES_HZ = (5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
USUAL_HZ = 100.0
RANGE_G = 4.0
_PER_G = 1024.0
_LENGTH = 18
_CONFIG = struct.Struct("<HHHHB")
_USUAL_MS = 500


def config(rate_hz: float) -> bytes:
    """The configuration: default intervals for steps, temperature and compass, the motion rate, no wake on motion."""
    return _CONFIG.pack(_USUAL_MS, _USUAL_MS, _USUAL_MS, round(rate_hz), 0)


class Thingy:
    """One sample per notification, without time or number, so losses can only be seen from arrivals."""

    tick_ns: float | None = None
    commands: str | None = None

    def __init__(self) -> None:
        self.counters = Counters()
        self._rate_hz = USUAL_HZ

    def plan(self, rate_hz: float | None, range_g: float | None) -> Plan:
        self._rate_hz = listed("rate", RATES_HZ, rate_hz, USUAL_HZ)
        listed("range", (RANGE_G,), range_g, RANGE_G)
        return Plan((RAW,), (Write(CONFIG, config(self._rate_hz)),))

    def notified(self, characteristic: str, data: bytes, arrival_ns: int) -> list[Event]:
        if len(data) != _LENGTH:
            self.counters.damaged[Damage.LENGTH] += 1
            return [Damaged(Damage.LENGTH, data[:KEPT_OF_DAMAGED])]
        number = self.counters.samples
        self.counters.frames += 1
        self.counters.samples += 1
        acc_g = np.frombuffer(data, "<i2", 3).astype(np.float64).reshape(1, 3) / _PER_G
        return [Samples(number, np.array([number], np.int64), acc_g, self._rate_hz, RANGE_G, 0, arrival_ns)]

    def break_off(self) -> None:
        """Nothing to forget: no frame spans notifications."""


FAMILY = Family("thingy", "Nordic Thingy:52", (ADVERTISED,), ("Thingy",), Thingy, RATES_HZ, (RANGE_G,))
