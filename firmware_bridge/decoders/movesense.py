"""Movesense with the GATT SensorData firmware: accelerometer packets with timestamps in whole milliseconds.

Source: Movesense device library, GATTSensorDataClient sample. A command is its code, a reference of our choice and the
path of the resource; answers carry the reference. A packet's time is that of its first sample.
"""

from __future__ import annotations

import numpy as np

from firmware_bridge.decoders import Counters, Event, Reply, Samples
from firmware_bridge.errors import Damage, FrameError
from firmware_bridge.framing import KEPT_OF_DAMAGED, Damaged
from firmware_bridge.gatt import Family, Plan, Write, assigned, listed
from firmware_bridge.spacing import Spacing

SERVICE = "34802252-7185-4d5d-b431-630e7050e8f0"
COMMAND = "34800001-7185-4d5d-b431-630e7050e8f0"
DATA = "34800002-7185-4d5d-b431-630e7050e8f0"
RATES_HZ = (13.0, 26.0, 52.0, 104.0, 208.0, 416.0, 833.0, 1666.0)
USUAL_HZ = 208.0
RANGE_G = 8.0
"""Fixed by the firmware; this protocol cannot change it."""
REFERENCE = 0x63
STANDARD_GRAVITY = 9.80665
WILD_G = 64.0

_SUBSCRIBE, _UNSUBSCRIBE = 1, 2
_RESPONSE, _PACKET, _SECOND_PART = 1, 2, 3
_SAMPLE = 12


class Movesense:
    """Ticks are microseconds: the timestamps' milliseconds, smoothed onto the grid they were rounded from."""

    tick_ns: float | None = 1000.0
    commands: str | None = None

    def __init__(self) -> None:
        self.counters = Counters()
        self._rate_hz = USUAL_HZ
        self._spacing = Spacing(1e6 / USUAL_HZ, quantum=1000.0)
        self._stamp, self._high = 0, 0
        self._rest = b""

    def plan(self, rate_hz: float | None, range_g: float | None) -> Plan:
        rate = listed("rate", RATES_HZ, rate_hz, USUAL_HZ)
        listed("range", (RANGE_G,), range_g, RANGE_G)
        if rate != self._rate_hz:
            self._rate_hz, self._spacing = rate, Spacing(1e6 / rate, quantum=1000.0)
        path = f"/Meas/Acc/{rate:g}".encode()
        leave = Write(COMMAND, bytes([_UNSUBSCRIBE, REFERENCE]))
        return Plan((DATA,), (leave, Write(COMMAND, bytes([_SUBSCRIBE, REFERENCE]) + path)), (leave,))

    def notified(self, characteristic: str, data: bytes, arrival_ns: int) -> list[Event]:
        try:
            event = self._told(data, arrival_ns)
        except FrameError as error:
            self.counters.damaged[error.damage] += 1
            return [Damaged(error.damage, data[:KEPT_OF_DAMAGED])]
        return [event] if event is not None else []

    def break_off(self) -> None:
        self._rest = b""

    def _told(self, data: bytes, arrival_ns: int) -> Event | None:
        if len(data) < 2:
            raise FrameError(Damage.LENGTH, f"{len(data)} bytes")
        kind, reference = data[0], data[1]
        if reference != REFERENCE or kind not in (_RESPONSE, _PACKET, _SECOND_PART):
            raise FrameError(Damage.KIND, f"message {kind} for {reference}")
        if kind == _RESPONSE:
            code = int.from_bytes(data[2:4], "little")
            return Reply(_SUBSCRIBE, code in (0, 200), code, self._rate_hz) if code != 404 else None
        self.counters.frames += 1
        return self._first(data[2:], arrival_ns) if kind == _PACKET else self._more(data[2:], arrival_ns)

    def _first(self, body: bytes, arrival_ns: int) -> Samples | None:
        if len(body) < 4 + _SAMPLE:
            raise FrameError(Damage.LENGTH, f"a packet of {len(body)} bytes")
        stamp = self._unwrapped(int.from_bytes(body[:4], "little"))
        whole = (len(body) - 4) // _SAMPLE
        self._rest = body[4 + whole * _SAMPLE :]
        values = self._values(body[4 : 4 + whole * _SAMPLE])
        return self._samples(values, stamp * 1000.0 + (whole - 1) * self._spacing.period, arrival_ns)

    def _more(self, body: bytes, arrival_ns: int) -> Samples | None:
        """The second part of a packet longer than a notification; it continues where the first one ended."""
        body, self._rest = self._rest + body, b""
        if not body or len(body) % _SAMPLE:
            raise FrameError(Damage.LENGTH, f"a second part of {len(body)} bytes")
        values = self._values(body)
        if self._spacing.end is None:
            return None
        return self._samples(values, self._spacing.end + len(values) * self._spacing.period, arrival_ns)

    def _values(self, body: bytes) -> np.ndarray:
        values = np.frombuffer(body, "<f4").reshape(-1, 3)
        if not (np.isfinite(values).all() and (np.abs(values) < WILD_G * STANDARD_GRAVITY).all()):
            raise FrameError(Damage.VALUE, "an acceleration that is none")
        return values.astype(np.float64) / STANDARD_GRAVITY

    def _samples(self, acc_g: np.ndarray, end_us: float, arrival_ns: int) -> Samples:
        placed = self._spacing.place(end_us, len(acc_g))
        number = self.counters.samples
        self.counters.samples += len(acc_g)
        self.counters.lost += placed.lost
        self.counters.restarts += placed.restarted
        return Samples(number, placed.ticks, acc_g, self._rate_hz, RANGE_G, placed.lost, arrival_ns)

    def _unwrapped(self, stamp: int) -> int:
        """The 32-bit counter wraps after 49 days: a step back by more than half its range is a wrap."""
        if stamp - self._stamp < -(1 << 31):
            self._high = min(self._high + (1 << 32), 1 << 50)
        self._stamp = stamp
        return self._high + stamp


FAMILY = Family("movesense", "Movesense", (SERVICE, assigned(0xFDF3)), ("Movesense",), Movesense, RATES_HZ, (RANGE_G,))
