"""Sensors on the virtual radio: real GATT servers that speak what the makers' documents say, from a simulated chest."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any, Self

import numpy as np
from bumble.core import UUID, AdvertisingData
from bumble.device import Connection, Device
from bumble.gatt import Characteristic, CharacteristicValue, Service

from firmware_bridge.decoders import movesense, polar
from firmware_bridge.gatt import COMMANDS, FRAMES, HOMESIDE_SERVICE
from firmware_bridge.physiology import Seismocardiogram
from firmware_bridge.simulator import SimulatedSensor
from tests.radio.air import Air

NOTIFY = Characteristic.Properties.NOTIFY
INDICATE = Characteristic.Properties.INDICATE
READ = Characteristic.Properties.READ
WRITE = Characteristic.Properties.WRITE | Characteristic.Properties.WRITE_WITHOUT_RESPONSE
OPEN = Characteristic.READABLE | Characteristic.WRITEABLE


def said(uuid: str, properties: Any, value: Any = b"") -> Characteristic:
    return Characteristic(uuid, properties, OPEN, value)


def heard(uuid: str, take: Callable[[bytes], None], properties: Any = WRITE) -> Characteristic:
    return Characteristic(uuid, properties, OPEN, CharacteristicValue(write=lambda _, value: take(bytes(value))))


class Peripheral:
    """A GATT server that advertises until it is connected, and again when the link is gone.

    `step` of a subclass gives the notifications that are due; it is called each `every_s` while somebody listens.
    """

    every_s = 0.02

    def __init__(self, air: Air, name: str, address: str | None = None, battery: int = 80) -> None:
        self.air, self.name = air, name
        self.device: Device = air.device(name, address)
        self.address = str(self.device.random_address).removesuffix("/P")
        self.battery = battery
        self.connection: Connection | None = None
        self.connections = 0
        self.sent = 0
        self.began_ns = time.monotonic_ns()
        self.silent = False
        level = CharacteristicValue(read=lambda _: bytes([self.battery]))
        self._level = Characteristic("2A19", READ | NOTIFY, OPEN, level)
        self._task: asyncio.Task[None] | None = None
        self._answers: list[asyncio.Task[None]] = []
        self._hidden = False
        self._again: asyncio.Task[None] | None = None

    def services(self) -> list[Service]:
        """Those a subclass has beside the battery's."""
        return []

    def step(self) -> list[tuple[Characteristic, bytes]]:
        return []

    def advertised(self) -> str | None:
        """The service in the advertisement."""
        return None

    def joined(self) -> None: ...

    def left(self) -> None: ...

    @property
    def elapsed_ns(self) -> int:
        return time.monotonic_ns() - self.began_ns

    async def __aenter__(self) -> Self:
        self.device.add_services([*self.services(), Service("180F", [self._level])])
        self.device.on(Device.EVENT_CONNECTION, self._joined)
        await self.device.power_on()
        await self.show()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._hidden = True
        await self.drop()
        if self._again is not None:
            await self._again
        await self.device.power_off()
        self.air.remove(self.device)

    async def show(self) -> None:
        self._hidden = False
        parts: list[tuple[int, bytes]] = [(AdvertisingData.COMPLETE_LOCAL_NAME, self.name.encode())]
        if (service := self.advertised()) is not None:
            wide = len(service) > 4
            kind = (
                AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
                if wide
                else AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS
            )
            parts.append((kind, UUID(service).to_pdu_bytes() if not wide else UUID(service).to_bytes()))
        await self.device.start_advertising(
            advertising_data=bytes(AdvertisingData(parts)), advertising_interval_min=20, advertising_interval_max=20
        )

    async def hide(self) -> None:
        """Out of reach: no advertisement, no connection."""
        self._hidden = True
        await self.device.stop_advertising()
        await self.drop()

    async def drop(self) -> None:
        """The link is lost."""
        if (connection := self.connection) is not None:
            await connection.disconnect()

    async def notify(self, characteristic: Characteristic, data: bytes) -> None:
        if self.connection is None:
            return
        if characteristic.properties & NOTIFY:
            await self.device.notify_subscriber(self.connection, characteristic, data)
        else:
            await self.device.indicate_subscriber(self.connection, characteristic, data)

    def later(self, characteristic: Characteristic, data: bytes) -> None:
        """An answer to a write, after the write itself was answered."""
        self.soon(self.notify(characteristic, data))

    def soon(self, work: Coroutine[Any, Any, None]) -> None:
        self._answers = [asyncio.create_task(work), *self._answers][:8]

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.every_s)
            if self.connection is None or self.silent:
                continue
            for characteristic, data in self.step():
                await self.notify(characteristic, data)
                self.sent += 1

    def _joined(self, connection: Connection) -> None:
        self.connection = connection
        self.connections += 1
        connection.on(Connection.EVENT_DISCONNECTION, self._left)
        self.joined()

    def _left(self, *_: object) -> None:
        self.connection = None
        self.left()
        if not self._hidden:
            self._again = asyncio.get_running_loop().create_task(self.show())


class HomesidePeripheral(Peripheral):
    """Our own GATT service in front of the simulated board: its frames in notifications, commands by writing."""

    def __init__(self, air: Air, board: SimulatedSensor, name: str = "homeside-1", **options: Any) -> None:
        super().__init__(air, name, **options)
        self.board = board
        self._frames = said(FRAMES, NOTIFY)
        self._commands = heard(COMMANDS, self._told)
        self._answer = b""

    def advertised(self) -> str:
        return HOMESIDE_SERVICE

    def services(self) -> list[Service]:
        return [Service(HOMESIDE_SERVICE, [self._frames, self._commands])]

    def step(self) -> list[tuple[Characteristic, bytes]]:
        assert self.connection is not None
        said, room = self._answer + self.board.advance(self.elapsed_ns), self.connection.att_mtu - 3
        self._answer = b""
        frames = [b"\0" + frame + b"\0" for frame in said.strip(b"\0").split(b"\0\0")] if said else []
        return [(self._frames, frame[at : at + room]) for frame in frames for at in range(0, len(frame), room)]

    def _told(self, data: bytes) -> None:
        self._answer += self.board.receive(data, self.elapsed_ns)


class PolarH10(Peripheral):
    """Raw type 1 frames of 36 samples, stamped with their newest, ns since 2000; ECG when asked for.

    It measures on after the link is gone until it is told to stop, and answers its control point by indications.
    """

    every_s = 0.02
    FRAME, ECG_FRAME = 36, 73
    R_BEFORE_S, R_WIDE_S = 0.1, 0.01

    def __init__(self, air: Air, name: str = "Polar H10 A1B2C3D4", *, drift_ppm: float = -20.0, **options: Any) -> None:
        super().__init__(air, name, **options)
        self.signal = Seismocardiogram()
        self.measuring: set[int] = set()
        self.rate_hz = 0
        self.taken = 0
        self.stops = 0
        self.beats: list[float] = []
        """When the aortic valve opens, s since the signal began; R waves of the ECG come a tenth before."""
        self._ecg_from_ns, self._ecg_taken = 0, 0
        self._speed = 1 + drift_ppm / 1e6
        self._from_ns = 0
        self._epoch_ns = 599_616_000_000_000_000
        """2019-01-01, where its clock begins after a while off the strap."""
        self._control = heard(polar.CONTROL, self._told, WRITE | READ | INDICATE)
        self._data = said(polar.DATA, NOTIFY)

    def advertised(self) -> str:
        return "FEEE"

    def services(self) -> list[Service]:
        return [Service(polar.SERVICE, [self._control, self._data])]

    def reboot(self) -> None:
        """Off the strap for a minute: its clock begins anew."""
        self.began_ns = time.monotonic_ns()
        self._from_ns, self.taken = 0, 0

    def step(self) -> list[tuple[Characteristic, bytes]]:
        found = []
        while polar.ACC in self.measuring and self._time_ns(self.taken + self.FRAME - 1) <= self.elapsed_ns:
            numbers = np.arange(self.taken, self.taken + self.FRAME)
            mg = np.rint(self.signal.at((self._from_ns + numbers * 1e9 / self.rate_hz) / 1e9) * 1000).astype("<i2")
            stamp = self._epoch_ns + int(self._time_ns(self.taken + self.FRAME - 1) * self._speed)
            found.append((self._data, struct.pack("<BQB", polar.ACC, stamp, 1) + mg.tobytes()))
            self.taken += self.FRAME
        while polar.ECG in self.measuring and self._ecg_ns(self._ecg_taken + self.ECG_FRAME - 1) <= self.elapsed_ns:
            found.append((self._data, self._ecg()))
        return found

    def _ecg(self) -> bytes:
        times = [self._ecg_ns(self._ecg_taken + n) for n in range(self.ECG_FRAME)]
        self.beats += self.signal.take_beats(times[-1] / 1e9 + 1.0)
        since = np.array(times)[:, None] / 1e9 - (np.array(self.beats) - self.R_BEFORE_S)
        volts = (1000 * np.exp(-((since / self.R_WIDE_S) ** 2)).sum(axis=1)).astype(int).tolist()
        stamp = self._epoch_ns + int(times[-1] * self._speed)
        self._ecg_taken += self.ECG_FRAME
        return struct.pack("<BQB", polar.ECG, stamp, 0) + b"".join(v.to_bytes(3, "little", signed=True) for v in volts)

    def _ecg_ns(self, number: int) -> int:
        return self._ecg_from_ns + round(number * 1e9 / polar.ECG_HZ)

    def _time_ns(self, number: int) -> int:
        return self._from_ns + round(number * 1e9 / self.rate_hz)

    def _told(self, data: bytes) -> None:
        command, kind = data[0], data[1]
        status = 0
        if command == 3:
            self.stops += kind in self.measuring
            self.measuring.discard(kind)
        elif command == 2 and kind == polar.ACC:
            self.rate_hz = int.from_bytes(data[4:6], "little")
            status = 0 if float(self.rate_hz) in polar.RATES_HZ else 5
            if not status:
                self.measuring.add(kind)
                self._from_ns, self.taken = self.elapsed_ns, 0
        elif command == 2 and kind == polar.ECG:
            self.measuring.add(kind)
            self._ecg_from_ns, self._ecg_taken = self.elapsed_ns, 0
        self.later(self._control, bytes([0xF0, command, kind, status, 0]))


class MovesenseSensor(Peripheral):
    """GATT SensorData: packets of 8 samples of float32 in m/s², stamped in whole ms with their first."""

    PACKET = 8

    def __init__(self, air: Air, name: str = "Movesense 174430000051", **options: Any) -> None:
        super().__init__(air, name, **options)
        self.signal = Seismocardiogram()
        self.rate_hz = 0.0
        self._reference, self._from_ns, self.taken = 0, 0, 0
        self._command = heard(movesense.COMMAND, self._told)
        self._data = said(movesense.DATA, NOTIFY)

    def advertised(self) -> str:
        return "FDF3"

    def services(self) -> list[Service]:
        return [Service(movesense.SERVICE, [self._command, self._data])]

    def left(self) -> None:
        self.rate_hz = 0.0

    def step(self) -> list[tuple[Characteristic, bytes]]:
        found = []
        while self.rate_hz and self._time_ns(self.taken + self.PACKET) <= self.elapsed_ns:
            times = np.array([self._time_ns(self.taken + i) for i in range(self.PACKET)])
            body = (self.signal.at(times / 1e9) * 9.80665).astype("<f4").tobytes()
            stamp = int(times[0] // 1_000_000)
            found.append((self._data, struct.pack("<BBI", 2, self._reference, stamp) + body))
            self.taken += self.PACKET
        return found

    def _time_ns(self, number: int) -> int:
        return self._from_ns + round(number * 1e9 / self.rate_hz)

    def _told(self, data: bytes) -> None:
        command, reference, path = data[0], data[1], data[2:].decode()
        if command == 2:
            self.rate_hz = 0.0
        elif command == 1 and path.startswith("/Meas/Acc/"):
            self._reference, self.rate_hz = reference, float(path.rsplit("/", 1)[1])
            self._from_ns, self.taken = self.elapsed_ns, 0
            self.later(self._data, struct.pack("<BBH", 1, reference, 200))
