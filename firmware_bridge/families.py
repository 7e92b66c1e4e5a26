"""The sensor families that can be read; the one place to add a new one (`docs/sensors.md` shows how)."""

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
"""Bluetooth families, in the order in which an advertisement is matched against them."""

USUAL_HZ = 100.0
"""The rate assumed for a serial sensor that does not state it."""

DIALECTS: dict[str, Callable[[float], Decoder]] = {
    "homeside": lambda _: HomesideSerial(),
    "slip": lambda _: HomesideSlip(),
    "witmotion": witmotion.WitMotionSerial,
    "csv": CsvLines,
    "csv-us": lambda rate_hz: CsvLines(rate_hz, unit_ns=1e3),
    "csv-ms2": lambda rate_hz: CsvLines(rate_hz, metric=True),
    "csv-untimed": lambda rate_hz: CsvLines(rate_hz, timed=False),
}
"""Serial dialects: makes the decoder for a rate, which is ignored by dialects that state their own."""

COMMANDED: dict[str, Callable[[bytes], bytes]] = {"homeside": lambda frame: frame, "slip": reframed}
"""Dialects that accept our commands, with the conversion of a frame of ours."""


def family(key: str) -> Family | None:
    return next((one for one in FAMILIES if one.key == key), None)


def recognised(name: str | None, services: tuple[str, ...]) -> Family | None:
    """The family recognised from an advertisement; None if it is unknown."""
    return next((one for one in FAMILIES if one.knows(name, services)), None)
