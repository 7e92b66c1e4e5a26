"""A radio without a radio: bleak's two backends on bumble's controllers, which meet on a link inside this process.

Everything above the air is real: advertisements, connections, MTU exchange, GATT discovery, writes with and without
response, notifications. Airtime, packet loss and BlueZ are not in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError
from bleak.uuids import normalize_uuid_str
from bumble.controller import Controller
from bumble.core import UUID, AdvertisingData, BaseBumbleError
from bumble.device import Advertisement, Connection, Device, Peer
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink

MTU = 247
PROPERTIES = {
    0x02: "read",
    0x04: "write-without-response",
    0x08: "write",
    0x10: "notify",
    0x20: "indicate",
}


def spelled(uuid: UUID) -> str:
    """As bleak writes it: 128 bits, lower case."""
    return normalize_uuid_str(uuid.to_hex_str("-"))


class Air:
    """One place with one host's adapter; `device` puts another transmitter into it."""

    def __init__(self) -> None:
        self.link = LocalLink()
        self._made = 0
        self._controllers: dict[Device, Controller] = {}
        self.adapter = self.device("adapter")
        self.scanners: set[VirtualScanner] = set()
        self.missing: BleakError | None = None
        """Set to what bleak raises when a host has no adapter: scanning and connecting then fail with it."""
        self.refusals = 0
        """So many of the next connections fail, as they do on a crowded radio."""
        self.scanner_backend = type("AirScanner", (VirtualScanner,), {"air": self})
        self.client_backend = type("AirClient", (VirtualClient,), {"air": self})

    def device(self, name: str, address: str | None = None) -> Device:
        self._made += 1
        address = address or f"F0:00:00:00:00:{self._made:02X}"
        controller = Controller(name, link=self.link, public_address=address)
        device = Device(name=name, address=Address(address), host=Host(controller, AsyncPipeSink(controller)))
        self._controllers[device] = controller
        return device

    def remove(self, device: Device) -> None:
        self.link.remove_controller(self._controllers.pop(device))

    async def __aenter__(self) -> Self:
        await self.adapter.power_on()
        self.adapter.on(Device.EVENT_ADVERTISEMENT, self._heard)
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in list(self.adapter.connections.values()):
            with suppress(BaseBumbleError):
                await connection.disconnect()
        await self.adapter.power_off()

    def check(self) -> None:
        if self.missing is not None:
            raise self.missing

    def _heard(self, advertisement: Advertisement) -> None:
        for scanner in list(self.scanners):
            scanner.heard(advertisement)


class VirtualScanner(BaseBleakScanner):
    air: Air

    def __init__(self, detection_callback: Any, service_uuids: Any, scanning_mode: Any = None, **_: Any) -> None:
        super().__init__(detection_callback, service_uuids)

    async def start(self) -> None:
        self.air.check()
        self.seen_devices = {}
        if not self.air.scanners:
            await self.air.adapter.start_scanning(legacy=True)
        self.air.scanners.add(self)

    async def stop(self) -> None:
        self.air.scanners.discard(self)
        if not self.air.scanners:
            await self.air.adapter.stop_scanning(legacy=True)

    def heard(self, advertisement: Advertisement) -> None:
        found = advertisement.data
        name = found.get(AdvertisingData.COMPLETE_LOCAL_NAME)
        services = []
        for kind in (
            AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
            AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
        ):
            services += [spelled(uuid) for uuid in found.get(kind) or []]
        if not self.is_allowed_uuid(services):
            return
        address = str(advertisement.address).removesuffix("/P")
        said = AdvertisementData(name, {}, {}, services, None, advertisement.rssi, ())
        self.call_detection_callbacks(self.create_or_update_device(address, address, name, advertisement, said), said)


class VirtualClient(BaseBleakClient):
    air: Air

    def __init__(self, address_or_ble_device: Any, **options: Any) -> None:
        super().__init__(address_or_ble_device, **options)
        self._connection: Connection | None = None
        self._peer: Peer | None = None
        self._leaving = False
        self._listening: dict[int, Any] = {}

    @property
    def name(self) -> str:
        return self.address

    @property
    def mtu_size(self) -> int:
        return self._connection.att_mtu if self._connection is not None else 23

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def connect(self, pair: bool, **_: Any) -> None:
        self.air.check()
        if self.air.refusals:
            self.air.refusals -= 1
            raise BleakError("le-connection-abort-by-local")
        try:
            connection = await self.air.adapter.connect(Address(self.address), timeout=self._timeout)
        except BaseBumbleError as error:
            raise BleakError(f"failed to connect: {error}") from error
        self._connection = connection
        connection.on(Connection.EVENT_DISCONNECTION, self._lost)
        self._peer = Peer(connection)
        with self._as_bleak_says():
            await self._peer.request_mtu(MTU)
            self.services = await self._discover(self._peer)

    async def disconnect(self) -> None:
        self._leaving = True
        if self._connection is not None:
            with suppress(BaseBumbleError):
                await self._connection.disconnect()
        self._connection = None

    async def pair(self, *_: Any, **__: Any) -> None: ...

    async def unpair(self) -> None: ...

    async def read_gatt_char(self, characteristic: BleakGATTCharacteristic, **_: Any) -> bytearray:
        with self._as_bleak_says():
            return bytearray(await characteristic.obj.read_value())

    async def read_gatt_descriptor(self, descriptor: Any, **_: Any) -> bytearray:
        raise BleakError("the virtual radio carries no descriptors")

    async def write_gatt_descriptor(self, descriptor: Any, data: Any) -> None:
        raise BleakError("the virtual radio carries no descriptors")

    async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: Any, response: bool) -> None:
        with self._as_bleak_says():
            await characteristic.obj.write_value(bytes(data), with_response=response)

    async def start_notify(self, characteristic: BleakGATTCharacteristic, callback: Any, **_: Any) -> None:
        def hear(value: bytes) -> None:
            callback(bytearray(value))

        self._listening[characteristic.handle] = hear
        with self._as_bleak_says():
            await characteristic.obj.subscribe(hear)

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        with self._as_bleak_says():
            await characteristic.obj.unsubscribe(self._listening.pop(characteristic.handle))

    def _lost(self, *_: object) -> None:
        self._connection = None
        if not self._leaving and self._disconnected_callback is not None:
            self._disconnected_callback()

    async def _discover(self, peer: Peer) -> BleakGATTServiceCollection:
        found = BleakGATTServiceCollection()
        for service in await peer.discover_services():
            ours = BleakGATTService(service, service.handle, spelled(service.uuid))
            found.add_service(ours)
            for one in await service.discover_characteristics():
                properties: Any = [word for bit, word in PROPERTIES.items() if one.properties & bit]
                room: Callable[[], int] = lambda: self.mtu_size - 3  # noqa: E731
                found.add_characteristic(
                    BleakGATTCharacteristic(one, one.handle, spelled(one.uuid), properties, room, ours)
                )
        return found

    def _as_bleak_says(self) -> _Translated:
        if self._connection is None:
            raise BleakError("Not connected")
        return _Translated()


class _Translated:
    """bumble's errors, and those of a link that went away meanwhile, as bleak's."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, BaseBumbleError | asyncio.CancelledError) and not isinstance(error, BleakError):
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                return
            raise BleakError(f"{type(error).__name__}: {error}") from error
