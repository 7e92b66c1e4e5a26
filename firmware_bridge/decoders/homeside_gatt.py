"""Our own frames over our own GATT service (`docs/gatt-service.md`): the serial byte stream, split into notifications.

A frame may span several notifications; its arrival is that of its last byte.
"""

from __future__ import annotations

from firmware_bridge.decoders import Event
from firmware_bridge.decoders.homeside_serial import HomesideSerial
from firmware_bridge.gatt import COMMANDS, FRAMES, HOMESIDE_SERVICE, Family, Plan


class HomesideGatt:
    """Rate and range are set by our own commands once the connection is open."""

    tick_ns: float | None = HomesideSerial.tick_ns
    commands: str | None = COMMANDS

    def __init__(self) -> None:
        self._serial = HomesideSerial()
        self.counters = self._serial.counters

    def plan(self, rate_hz: float | None, range_g: float | None) -> Plan:
        return Plan((FRAMES,))

    def notified(self, characteristic: str, data: bytes, arrival_ns: int) -> list[Event]:
        return self._serial.feed(data, arrival_ns) if characteristic == FRAMES else []

    def break_off(self) -> None:
        self._serial.break_off()


FAMILY = Family("homeside", "Homeside board", (HOMESIDE_SERVICE,), ("homeside-",), HomesideGatt)
