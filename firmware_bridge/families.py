"""The families of sensors that can be read: the one place to enter a new one (`docs/sensors.md` shows how)."""

from __future__ import annotations

from collections.abc import Callable

from firmware_bridge.decoders import Decoder, banglejs, homeside_gatt, movesense, polar, thingy, witmotion
from firmware_bridge.decoders.csv_lines import CsvLines
from firmware_bridge.decoders.homeside_serial import HomesideSerial
from firmware_bridge.decoders.slip import HomesideSlip, reframed
from firmware_bridge.gatt import Family

FAMILIES: tuple[Family, ...] = (
    homeside_gatt.FAMILY,
    polar.FAMILY,
    movesense.FAMILY,
    witmotion.FAMILY,
    thingy.FAMILY,
    banglejs.FAMILY,
)
"""Over the air, in the order in which a sensor is held against them."""

USUAL_HZ = 100.0
"""Of a serial sensor that does not say how fast it is."""

DIALECTS: dict[str, Callable[[float], Decoder]] = {
    "homeside": lambda _: HomesideSerial(),
    "slip": lambda _: HomesideSlip(),
    "witmotion": witmotion.WitMotionSerial,
    "csv": CsvLines,
    "csv-us": lambda rate_hz: CsvLines(rate_hz, unit_ns=1e3),
    "csv-ms2": lambda rate_hz: CsvLines(rate_hz, metric=True),
    "csv-untimed": lambda rate_hz: CsvLines(rate_hz, timed=False),
}
"""Over a wire: the decoder for a rate, which a dialect that states its own does not need."""

COMMANDED: dict[str, Callable[[bytes], bytes]] = {"homeside": lambda frame: frame, "slip": reframed}
"""Dialects that take our commands, and how a frame of ours looks in them."""


def family(key: str) -> Family | None:
    return next((one for one in FAMILIES if one.key == key), None)


def recognised(name: str | None, services: tuple[str, ...]) -> Family | None:
    """The family of what a sensor advertises; None when it is none of ours."""
    return next((one for one in FAMILIES if one.knows(name, services)), None)
