"""Bangle.js over the Nordic UART service: a line of JavaScript makes the watch print its accelerometer.

Source: Espruino's reference of Bangle.setPollInterval and its `accel` event. It prints `t,x,y,z`, in ms and g.
"""

from __future__ import annotations

from firmware_bridge.decoders import Event
from firmware_bridge.decoders.csv_lines import CsvLines
from firmware_bridge.gatt import Family, Plan, listed, pieces

SERVICE = "6e400001-b5a3-f393-e0a9-e50e24dcca9e"
RECEIVE = "6e400002-b5a3-f393-e0a9-e50e24dcca9e"
TRANSMIT = "6e400003-b5a3-f393-e0a9-e50e24dcca9e"
RATES_HZ = (12.5, 25.0, 50.0, 100.0)
USUAL_HZ = 50.0
RANGE_G = 8.0
_QUIET = "\x10"
"""Espruino echoes every line that does not begin with this."""


def program(rate_hz: float) -> bytes:
    """The program that prints a line per sample; intervals are in ms (the watch's default is 80)."""
    accel = "Bangle.on('accel',a=>Bluetooth.println([(getTime()*1000).toFixed(1),a.x,a.y,a.z].join(',')))"
    return (
        f"\x03{_QUIET}Bangle.removeAllListeners('accel');Bangle.setPollInterval({1000 / rate_hz:g});{accel}\n".encode()
    )


def ending() -> bytes:
    return f"{_QUIET}Bangle.removeAllListeners('accel');Bangle.setPollInterval(80)\n".encode()


class BangleJs:
    """Reads the lines printed by our program in the watch's interpreter; ticks are microseconds."""

    tick_ns: float | None = 1000.0
    commands: str | None = None

    def __init__(self) -> None:
        self._lines = CsvLines(USUAL_HZ)
        self.counters = self._lines.counters

    def plan(self, rate_hz: float | None, range_g: float | None) -> Plan:
        rate = listed("rate", RATES_HZ, rate_hz, USUAL_HZ)
        listed("range", (RANGE_G,), range_g, RANGE_G)
        if rate != self._lines.rate_hz:
            counters, self._lines = self.counters, CsvLines(rate)
            self._lines.counters = counters
        return Plan((TRANSMIT,), pieces(RECEIVE, program(rate)), pieces(RECEIVE, ending()))

    def notified(self, characteristic: str, data: bytes, arrival_ns: int) -> list[Event]:
        return self._lines.feed(data, arrival_ns)

    def break_off(self) -> None:
        self._lines.break_off()


FAMILY = Family("banglejs", "Bangle.js", (), ("Bangle.js",), BangleJs, RATES_HZ, (RANGE_G,))
