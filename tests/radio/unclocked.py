"""More sensors on the virtual radio: those that send a sample at a time, most without a clock of their own."""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
from bumble.gatt import Characteristic, Service

from firmware_bridge.decoders import banglejs, thingy, witmotion
from firmware_bridge.physiology import Seismocardiogram
from tests.radio.air import Air
from tests.radio.peripherals import NOTIFY, Peripheral, heard, said


class WitMotionSensor(Peripheral):
    """One 20-byte packet a sample; the rate is a register."""

    def __init__(self, air: Air, name: str = "WT901BLE68", **options: Any) -> None:
        super().__init__(air, name, **options)
        self.signal = Seismocardiogram()
        self.rate_hz, self.taken = 10.0, 0
        self._from_ns = 0
        self._data = said(witmotion.NOTIFY, NOTIFY)
        self._commands = heard(witmotion.WRITE, self._told)

    def services(self) -> list[Service]:
        return [Service(witmotion.SERVICE, [self._data, self._commands])]

    def step(self) -> list[tuple[Characteristic, bytes]]:
        found = []
        while self._from_ns + self.taken * 1e9 / self.rate_hz <= self.elapsed_ns:
            acc = self.signal.at(np.array([(self._from_ns + self.taken * 1e9 / self.rate_hz) / 1e9]))[0]
            raw = np.rint(acc * 32768 / 16).astype("<i2").tobytes()
            found.append((self._data, b"\x55\x61" + raw + bytes(12)))
            self.taken += 1
        return found

    def _told(self, data: bytes) -> None:
        codes = {code: rate for rate, code in witmotion.RATE_CODES.items()}
        if data[:3] == b"\xff\xaa\x03":
            self.rate_hz = codes[data[3]]
            self._from_ns, self.taken = self.elapsed_ns, 0


class ThingySensor(Peripheral):
    def __init__(self, air: Air, name: str = "Thingy", **options: Any) -> None:
        super().__init__(air, name, **options)
        self.signal = Seismocardiogram()
        self.rate_hz, self.taken, self._from_ns = 0, 0, 0
        self._raw, self._config = said(thingy.RAW, NOTIFY), heard(thingy.CONFIG, self._told)

    def advertised(self) -> str:
        return thingy.ADVERTISED

    def services(self) -> list[Service]:
        return [Service("ef680400-9b35-4933-9b10-52ffa9740042", [self._raw, self._config])]

    def step(self) -> list[tuple[Characteristic, bytes]]:
        found = []
        while self.rate_hz and self._from_ns + self.taken * 1e9 / self.rate_hz <= self.elapsed_ns:
            acc = self.signal.at(np.array([(self._from_ns + self.taken * 1e9 / self.rate_hz) / 1e9]))[0]
            raw = np.rint(acc * 1024).astype(int).tolist()
            found.append((self._raw, struct.pack("<9h", *raw, *[0] * 6)))
            self.taken += 1
        return found

    def _told(self, data: bytes) -> None:
        self.rate_hz = int.from_bytes(data[6:8], "little")
        self._from_ns, self.taken = self.elapsed_ns, 0


class BangleWatch(Peripheral):
    """A Nordic UART behind which something runs the line of JavaScript it is sent: prints t,x,y,z at its interval."""

    def __init__(self, air: Air, name: str = "Bangle.js 5a1f", **options: Any) -> None:
        super().__init__(air, name, **options)
        self.signal = Seismocardiogram()
        self.program, self.interval_ms, self.taken, self._from_ns = "", 0.0, 0, 0
        self._transmit, self._receive = said(banglejs.TRANSMIT, NOTIFY), heard(banglejs.RECEIVE, self._told)
        self._text = b""

    def services(self) -> list[Service]:
        return [Service(banglejs.SERVICE, [self._transmit, self._receive])]

    def step(self) -> list[tuple[Characteristic, bytes]]:
        while self.interval_ms and self._from_ns + self.taken * self.interval_ms * 1e6 <= self.elapsed_ns:
            t_ms = (self._from_ns + self.taken * self.interval_ms * 1e6) / 1e6
            x, y, z = self.signal.at(np.array([t_ms / 1000]))[0]
            self._text += f"{t_ms:.1f},{x:.4f},{y:.4f},{z:.4f}\r\n".encode()
            self.taken += 1
        data, self._text = self._text, b""
        return [(self._transmit, data[at : at + 20]) for at in range(0, len(data), 20)]

    def _told(self, data: bytes) -> None:
        self.program += data.decode()
        if self.program.endswith("\n"):
            interval = re.search(r"setPollInterval\(([\d.]+)\)", self.program)
            assert interval is not None
            self.interval_ms = float(interval[1]) if "on('accel'" in self.program else 0.0
            self._from_ns, self.taken, self.program = self.elapsed_ns, 0, ""
