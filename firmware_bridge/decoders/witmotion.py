"""WitMotion over BLE (WT901BLE, WT9011DCL) and over a serial line (WT901C, BWT901CL).

Source: WitMotion's standard protocol and its Bluetooth SDK. A BLE packet has 20 bytes and no checksum, a serial one 11
bytes of which the last is the sum. Neither has a clock or counter: only arrivals give times.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.decoders import Counters, Event, Samples
from firmware_bridge.errors import Damage
from firmware_bridge.framing import KEPT_OF_DAMAGED, Damaged
from firmware_bridge.gatt import Family, Plan, Write, listed

SERVICE = "0000ffe5-0000-1000-8000-00805f9a34fb"
NOTIFY = "0000ffe4-0000-1000-8000-00805f9a34fb"
WRITE = "0000ffe9-0000-1000-8000-00805f9a34fb"
"""The maker's own base UUID, which differs from the Bluetooth SIG's in two digits (9a for 9b)."""

RATE_CODES = {10.0: 0x06, 20.0: 0x07, 50.0: 0x08, 100.0: 0x09, 200.0: 0x0B}
USUAL_HZ = 100.0
RANGE_G = 16.0
_RATE_REGISTER = 0x03
UNLOCK, SAVE = bytes.fromhex("ffaa6988b5"), bytes.fromhex("ffaa000000")

_START = 0x55
_ALL_IN_ONE, _ALL_LENGTH = 0x61, 20
_LENGTH = 11
_ACC = 0x51
_KNOWN = frozenset(range(0x50, 0x60))
_FRAME = struct.Struct("<3h")


def set_register(register: int, value: int) -> bytes:
    return struct.pack("<BBBH", 0xFF, 0xAA, register, value)


def _g(frames: list[bytes]) -> NDArray[np.float64]:
    return np.array([_FRAME.unpack_from(frame, 2) for frame in frames], np.float64) * (RANGE_G / 32768)


class _Counted:
    """What both transports share: samples numbered as they arrive."""

    tick_ns: float | None = None

    def __init__(self, rate_hz: float = USUAL_HZ) -> None:
        self.counters = Counters()
        self._rate_hz = rate_hz
        self._rest = b""

    def break_off(self) -> None:
        self._rest = b""

    def _samples(self, frames: list[bytes], arrival_ns: int) -> Samples:
        number = self.counters.samples
        self.counters.frames += len(frames)
        self.counters.samples += len(frames)
        ticks = np.arange(number, number + len(frames), dtype=np.int64)
        return Samples(number, ticks, _g(frames), self._rate_hz, RANGE_G, 0, arrival_ns)

    def _damage(self, reason: Damage, data: bytes) -> Damaged:
        self.counters.damaged[reason] += 1
        return Damaged(reason, data[:KEPT_OF_DAMAGED])


class WitMotionBle(_Counted):
    """A notification contains whole packets; any other bytes are damage."""

    commands: str | None = None

    def plan(self, rate_hz: float | None, range_g: float | None) -> Plan:
        self._rate_hz = listed("rate", tuple(RATE_CODES), rate_hz, USUAL_HZ)
        listed("range", (RANGE_G,), range_g, RANGE_G)
        told = (UNLOCK, set_register(_RATE_REGISTER, RATE_CODES[self._rate_hz]), SAVE)
        return Plan((NOTIFY,), tuple(Write(WRITE, data, response=False) for data in told))

    def notified(self, characteristic: str, data: bytes, arrival_ns: int) -> list[Event]:
        if len(data) < 2 or len(data) % _ALL_LENGTH or data[0] != _START:
            return [self._damage(Damage.LENGTH, data)]
        frames = [data[at : at + _ALL_LENGTH] for at in range(0, len(data), _ALL_LENGTH)]
        if any(frame[0] != _START for frame in frames):
            return [self._damage(Damage.KIND, data)]
        measured = [frame for frame in frames if frame[1] == _ALL_IN_ONE]
        return [self._samples(measured, arrival_ns)] if measured else []


class WitMotionSerial(_Counted):
    """Frames of 0x55, kind, eight bytes and sum; kinds other than acceleration are skipped."""

    def feed(self, data: bytes, arrival_ns: int) -> list[Event]:
        bytes_, found, measured, at = self._rest + data, list[Event](), list[bytes](), 0
        while len(bytes_) - at >= _LENGTH:
            frame = bytes_[at : at + _LENGTH]
            if frame[0] == _START and frame[1] in _KNOWN and sum(frame[:-1]) & 0xFF == frame[-1]:
                measured += [frame] if frame[1] == _ACC else []
                at += _LENGTH
                continue
            following = bytes_.find(_START, at + 1)
            end = following if following >= 0 else len(bytes_)
            if frame[0] == _START:
                found.append(self._damage(Damage.CHECKSUM, bytes_[at:end]))
            at = end
        self._rest = bytes_[at:]
        return [self._samples(measured, arrival_ns), *found] if measured else found


FAMILY = Family("witmotion", "WitMotion", (SERVICE,), ("WT",), WitMotionBle, tuple(RATE_CODES), (RANGE_G,))
