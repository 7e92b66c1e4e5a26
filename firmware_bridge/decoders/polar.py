"""Polar H10, and relatives with delta frames: accelerometer and ECG of the "PMD" service.

Source: Polar BLE SDK, technical documentation, online measurement (v1.0) and time system. A frame's time is that of its
newest sample, in ns since 2000 by the device's clock. The H10 must be told to stop, or it measures until its battery is
empty.
"""

from __future__ import annotations

import struct
from functools import partial

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.decoders import Counters, Ecg, Event, Reply, Samples
from firmware_bridge.errors import Damage, FrameError
from firmware_bridge.framing import KEPT_OF_DAMAGED, Damaged
from firmware_bridge.gatt import Family, Plan, Write, assigned, listed
from firmware_bridge.spacing import Spacing

SERVICE = "fb005c80-02e7-f387-1cad-8acd2d8df0c8"
CONTROL = "fb005c81-02e7-f387-1cad-8acd2d8df0c8"
DATA = "fb005c82-02e7-f387-1cad-8acd2d8df0c8"
RATES_HZ = (25.0, 50.0, 100.0, 200.0)
RANGES_G = (2.0, 4.0, 8.0)
USUAL_HZ, USUAL_G = 200.0, 8.0
ECG_HZ = 130.0

ECG, ACC = 0, 2
_START, _STOP, _RESPONSE = 2, 3, 0xF0
_DONE = frozenset({0, 6})
"""Success, and "already in that state"."""
_HEAD = struct.Struct("<BQB")
_DELTA = 0x80
_RAW_BYTES = {0: 1, 1: 2, 2: 3}
_DELTA_BYTES = {0: 2, 1: 2}
"""Bytes per value, or of a delta frame's reference, by frame type. Compressed type 0 is in g, others in mg."""
_FACTOR = b"\x05\x01"
"""Setting 5 with one value, in the answer to a start: the factor for the values of delta frames."""
MOST_FACTOR = 1e3
MOST_SAMPLES = 4096
"""Samples accepted in one frame: a delta block of width 0 claims 255 samples in two bytes, and damaged frames may have
many."""


def start_acc(rate_hz: float, range_g: float) -> bytes:
    """The start command. Each setting is a type, a number of values and u16 values: 0 rate Hz, 1 resolution bits, 2
    range g.
    """
    return struct.pack("<BBBBHBBHBBH", _START, ACC, 0, 1, round(rate_hz), 1, 1, 16, 2, 1, round(range_g))


def start_ecg() -> bytes:
    return struct.pack("<BBBBHBBH", _START, ECG, 0, 1, round(ECG_HZ), 1, 1, 14)


def stop(kind: int) -> bytes:
    return bytes([_STOP, kind])


class Polar:
    """Values are in mg; `ecg` also requests the ECG stream, as a reference for heart rates."""

    tick_ns: float | None = 1.0
    commands: str | None = None

    def __init__(self, *, ecg: bool = False) -> None:
        self.counters = Counters()
        self.ecg = ecg
        self._rate_hz, self._range_g, self._factor = USUAL_HZ, USUAL_G, 1.0
        self._spacing = Spacing(1e9 / USUAL_HZ)
        self._ecg_spacing = Spacing(1e9 / ECG_HZ)

    def plan(self, rate_hz: float | None, range_g: float | None) -> Plan:
        rate = listed("rate", RATES_HZ, rate_hz, USUAL_HZ)
        self._range_g = listed("range", RANGES_G, range_g, USUAL_G)
        if rate != self._rate_hz:
            self._rate_hz, self._spacing = rate, Spacing(1e9 / rate)
        streams = [(stop(ACC), start_acc(rate, self._range_g))]
        streams += [(stop(ECG), start_ecg())] if self.ecg else []
        opening = tuple(Write(CONTROL, data) for pair in streams for data in pair)
        return Plan((CONTROL, DATA), opening, tuple(Write(CONTROL, pair[0]) for pair in streams))

    def notified(self, characteristic: str, data: bytes, arrival_ns: int) -> list[Event]:
        try:
            event = self._control(data) if characteristic == CONTROL else self._frame(data, arrival_ns)
        except FrameError as error:
            self.counters.damaged[error.damage] += 1
            return [Damaged(error.damage, data[:KEPT_OF_DAMAGED])]
        return [event] if event is not None else []

    def break_off(self) -> None:
        """Nothing to forget: timing continues across a reconnection, so that samples missed meanwhile are counted."""

    def _control(self, data: bytes) -> Event | None:
        """F0, command, measurement, status. Answers to a stop are ignored, even refusals because nothing was
        running.
        """
        if len(data) < 4 or data[0] != _RESPONSE:
            raise FrameError(Damage.KIND, f"{len(data)} bytes from the control point")
        if data[1] == _STOP:
            return None
        if data[1] == _START and data[2] == ACC and data[5:7] == _FACTOR and len(data) >= 11:
            (factor,) = struct.unpack_from("<f", data, 7)
            self._factor = factor if 0 < abs(factor) < MOST_FACTOR else 1.0
        return Reply(data[1], data[3] in _DONE, data[3], self._rate_hz)

    def _frame(self, data: bytes, arrival_ns: int) -> Event:
        if len(data) < _HEAD.size:
            raise FrameError(Damage.LENGTH, f"{len(data)} bytes of measurement")
        kind, time_ns, form = _HEAD.unpack_from(data)
        if time_ns >= 1 << 62:
            raise FrameError(Damage.VALUE, f"time {time_ns}")
        self.counters.frames += 1
        if kind == ACC:
            return self._acc(data[_HEAD.size :], time_ns, form, arrival_ns)
        if kind == ECG and form == 0:
            return self._heart(data[_HEAD.size :], time_ns, arrival_ns)
        raise FrameError(Damage.KIND, f"measurement {kind}, frame type {form}")

    def _acc(self, body: bytes, time_ns: int, form: int, arrival_ns: int) -> Samples:
        size = (_DELTA_BYTES if form & _DELTA else _RAW_BYTES).get(form & ~_DELTA)
        if size is None:
            raise FrameError(Damage.KIND, f"frame type {form}")
        mg = unpack_delta(body, 3, size) * self._scale(form) if form & _DELTA else unpack_raw(body, 3, size)
        placed = self._spacing.place(time_ns, len(mg))
        number = self.counters.samples
        self.counters.samples += len(mg)
        self.counters.lost += placed.lost
        self.counters.restarts += placed.restarted
        acc_g = mg.astype(np.float64) / 1000.0
        return Samples(number, placed.ticks, acc_g, self._rate_hz, self._range_g, placed.lost, arrival_ns)

    def _scale(self, form: int) -> float:
        return self._factor * (1000.0 if form == _DELTA else 1.0)

    def _heart(self, body: bytes, time_ns: int, arrival_ns: int) -> Ecg:
        values = unpack_raw(body, 1, 3)[:, 0]
        placed = self._ecg_spacing.place(time_ns, len(values))
        return Ecg(placed.ticks, values.astype(np.float64), ECG_HZ, placed.lost, arrival_ns)


def unpack_raw(body: bytes, channels: int, size: int) -> NDArray[np.int64]:
    """[n, channels] little-endian signed values of `size` bytes."""
    if not body or len(body) % (channels * size):
        raise FrameError(Damage.LENGTH, f"{len(body)} bytes of {channels} values of {size}")
    widened = np.zeros((len(body) // size, 4), np.uint8)
    widened[:, 4 - size :] = np.frombuffer(body, np.uint8).reshape(-1, size)
    values: NDArray[np.int64] = widened.view("<i4")[:, 0].astype(np.int64) >> (8 * (4 - size))
    return values.reshape(-1, channels)


def unpack_delta(body: bytes, channels: int, size: int) -> NDArray[np.int64]:
    """A reference sample, then blocks: bits per difference, samples, and the differences packed from the lowest bit."""
    at = channels * size
    parts, count = [unpack_raw(body[:at], channels, size)], 1
    while at < len(body):
        width, many = body[at], body[at + 1] if at + 1 < len(body) else 0
        used = (width * many * channels + 7) // 8
        count += many
        if not many or width > 8 * size + 1 or at + 2 + used > len(body) or count > MOST_SAMPLES:
            raise FrameError(Damage.LENGTH, f"a block of {many} samples of {width} bits")
        parts.append(_differences(body[at + 2 : at + 2 + used], width, many * channels).reshape(-1, channels))
        at += 2 + used
    return np.cumsum(np.concatenate(parts), axis=0)


def _differences(packed: bytes, width: int, count: int) -> NDArray[np.int64]:
    if not width:
        return np.zeros(count, np.int64)
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")[: width * count].reshape(count, width)
    weights = 1 << np.arange(width, dtype=np.int64)
    weights[-1] = -weights[-1]
    return bits.astype(np.int64) @ weights


FAMILY = Family(
    "polar",
    "Polar H10",
    (SERVICE, assigned(0xFEEE)),
    ("Polar ",),
    Polar,
    RATES_HZ,
    RANGES_G,
    with_ecg=partial(Polar, ecg=True),
)
