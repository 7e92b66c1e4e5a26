"""The host's Bluetooth adapter, through bleak: scanning, and links to sensors.

Only one connection is made at a time, and never while scanning, because adapters refuse otherwise. Notifications are
timestamped on arrival and put into a bounded queue; nothing is awaited there.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import structlog
from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.exc import BleakBluetoothNotAvailableError, BleakError

from agent.errors import LinkLost, RadioError
from firmware_bridge.families import recognised
from firmware_bridge.gatt import BATTERY_LEVEL, Family, Write

log = structlog.get_logger(__name__)

CONNECT_WITHIN_S = 10.0
ANSWER_WITHIN_S = 5.0
CLOSE_WITHIN_S = 3.0
MAX_PACKETS = 4096
"""Ten seconds at 400 notifications per second; an event loop further behind will not catch up."""
MAX_WRITES = 64
LEAST_SCAN_S, GLANCE_S = 1.5, 0.25
"""After this long, an unsuccessful scan yields to whoever waits for the adapter; and how often it checks."""
BEYOND_RECOVERY = 6
"""After this many failed connections in a row to sensors in reach, the adapter is assumed to be stuck and is reset."""
_NO_ADAPTER = (
    "Bluetooth cannot be used here ({reason}). Is there an adapter (bluetoothctl list), is it on "
    "(bluetoothctl power on; rfkill unblock bluetooth), does the service run (systemctl status bluetooth), "
    "and may this user use it (group bluetooth)?"
)

BROKEN = "the link broke off"

T = TypeVar("T")
Packet = tuple[str, bytes, int]
"""Characteristic, value, and arrival in ns of the host's monotonic clock."""


class Seen(NamedTuple):
    """An advertising device; `family` is None if it is not of a known family."""

    address: str
    name: str | None
    rssi: int
    services: tuple[str, ...]
    family: Family | None
    device: BLEDevice


class Link:
    """A connection to one sensor: call `packets` until it raises LinkLost, then `close`."""

    def __init__(self, device: BLEDevice, backend: type[BaseBleakClient] | None, bluez: Any) -> None:
        self.dropped = 0
        self._client = BleakClient(
            device, self._gone, timeout=CONNECT_WITHIN_S, backend=backend, **({"bluez": bluez} if bluez else {})
        )
        self._packets: deque[Packet] = deque()
        self._writes: asyncio.Queue[tuple[Write, Callable[[int], None] | None]] = asyncio.Queue(MAX_WRITES)
        self._news = asyncio.Event()
        self._lost = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._client.is_connected and not self._lost.is_set()

    async def open(self) -> None:
        """Connect. Raises LinkLost when that fails."""
        await self._done("connect", CONNECT_WITHIN_S, self._client.connect())
        self._writing = asyncio.create_task(self._write_on())

    async def close(self) -> None:
        """Disconnect, whatever state the link is in; never raises."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        with suppress(BleakError, OSError, EOFError, TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._client.disconnect()

    def has(self, characteristic: str) -> bool:
        services: Any = self._client.services
        return services.get_characteristic(characteristic) is not None

    def room(self, characteristic: str) -> int:
        """Bytes that fit into one write without response."""
        services: Any = self._client.services
        found: BleakGATTCharacteristic = services.get_characteristic(characteristic)
        return max(20, found.max_write_without_response_size)

    async def listen(self, characteristic: str) -> None:
        def heard(_: BleakGATTCharacteristic, value: bytearray) -> None:
            arrival_ns = time.monotonic_ns()
            if len(self._packets) >= MAX_PACKETS:
                self._packets.popleft()
                self.dropped += 1
            self._packets.append((characteristic, bytes(value), arrival_ns))
            self._news.set()

        await self._done("listen", ANSWER_WITHIN_S, self._client.start_notify(characteristic, heard))

    async def packets(self, within_s: float) -> list[Packet]:
        """Wait for packets. Those that arrived before an interruption are returned first; then LinkLost, as when
        silent.
        """
        if not self._packets and not self._lost.is_set():
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._news.wait()
        if not self._packets:
            raise LinkLost(BROKEN if self._lost.is_set() else f"connected, and silent for {within_s:.0f} s")
        found = list(self._packets)
        self._packets.clear()
        return found

    async def write(self, write: Write) -> None:
        work = self._client.write_gatt_char(write.characteristic, write.data, response=write.response)
        await self._done("write", ANSWER_WITHIN_S, work)

    def send(self, write: Write, written: Callable[[int], None] | None) -> None:
        """Queue a write, to be split into pieces that fit. `written` gets the time just before the first is sent."""
        try:
            self._writes.put_nowait((write, written))
        except asyncio.QueueFull:
            log.warning("sensor_write_dropped", characteristic=write.characteristic, waiting=MAX_WRITES)

    async def read(self, characteristic: str) -> bytes:
        return bytes(await self._done("read", ANSWER_WITHIN_S, self._client.read_gatt_char(characteristic)))

    async def battery(self) -> int | None:
        """Battery level in percent; None when the sensor does not provide it."""
        if not self.has(BATTERY_LEVEL):
            return None
        with suppress(LinkLost):
            level = await self.read(BATTERY_LEVEL)
            return level[0] if level and level[0] <= 100 else None
        return None

    async def _write_on(self) -> None:
        while True:
            write, written = await self._writes.get()
            size = self.room(write.characteristic)
            if written is not None:
                written(time.monotonic_ns())
            with suppress(LinkLost):
                for at in range(0, len(write.data), size):
                    await self.write(write._replace(data=write.data[at : at + size]))

    def _gone(self, _: BleakClient) -> None:
        self._lost.set()
        self._news.set()

    async def _done(self, what: str, within_s: float, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`, raising LinkLost as soon as the link is gone: not every Bluetooth stack then cancels pending
        requests.
        """
        working, lost = asyncio.ensure_future(work), asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait({working, lost}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise LinkLost(BROKEN if lost.done() else f"could not {what}: no answer in {within_s:.0f} s")
            return working.result()
        except (BleakError, OSError, EOFError) as error:
            raise LinkLost(f"could not {what}: {error or type(error).__name__}") from None
        finally:
            for task in (working, lost):
                task.cancel()
            await asyncio.gather(working, lost, return_exceptions=True)


class Radio:
    """One adapter. `scanner` and `client` are bleak's backends, by default the platform's own.

    `reset` turns the adapter off and on, as a last resort.
    """

    def __init__(
        self,
        adapter: str | None = None,
        *,
        scanner: type[BaseBleakScanner] | None = None,
        client: type[BaseBleakClient] | None = None,
        reset: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.resets = 0
        self.taken: set[str] = set()
        """Addresses of sensors already claimed by a source."""
        self._bluez = {"adapter": adapter} if adapter is not None else None
        self._scanner, self._client, self._reset = scanner, client, reset
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._failures = 0

    async def scan(self, within_s: float, enough: Callable[[list[Seen]], float | None] | None = None) -> list[Seen]:
        """Advertising devices with their latest signal strength, strongest first. RadioError without an adapter.

        `enough` is given what was seen so far, and may shorten the rest of the scan to the seconds it returns.
        """
        seen: dict[str, Seen] = {}
        news = asyncio.Event()

        def heard(device: BLEDevice, said: AdvertisementData) -> None:
            services = tuple(said.service_uuids)
            before = seen.get(device.address)
            name = said.local_name or device.name or (before.name if before else None)
            known = recognised(name, services)
            seen[device.address] = Seen(device.address, name, said.rssi, services, known, device)
            news.set()

        options: dict[str, Any] = {"bluez": self._bluez} if self._bluez else {}
        async with self._turn(), _available():
            scanner = BleakScanner(heard, backend=self._scanner, **options)
            async with scanner:
                await self._until(within_s, news, lambda: enough(list(seen.values())) if enough else None)
        return sorted(seen.values(), key=lambda one: -one.rssi)

    async def connect(self, seen: Seen) -> Link:
        """Connect. Raises RadioError with the reason; after several failures in a row the adapter is reset."""
        link = Link(seen.device, self._client, self._bluez)
        try:
            async with self._turn(), _available():
                await link.open()
        except LinkLost as error:
            await link.close()
            await self._failed()
            raise RadioError(
                f"{seen.name or seen.address} is in reach, but no connection came about: {error}"
            ) from None
        except BaseException:
            await link.close()
            raise
        self._failures = 0
        return link

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Exclusive use of the adapter; those waiting for it are counted."""
        self._waiting += 1
        try:
            await self._lock.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._lock.release()

    async def _until(self, within_s: float, news: asyncio.Event, enough: Callable[[], float | None]) -> None:
        """Wait until the time is up, shortened by `enough`, or until others have waited long enough."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline, shortened = began + within_s, False
        while (left := deadline - loop.time()) > 0 and not (self._waiting and loop.time() - began > LEAST_SCAN_S):
            news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, GLANCE_S)):
                    await news.wait()
            if not shortened and (rest := enough()) is not None:
                deadline, shortened = min(deadline, loop.time() + rest), True

    async def _failed(self) -> None:
        self._failures += 1
        if self._failures < BEYOND_RECOVERY or self._reset is None:
            return
        self._failures = 0
        self.resets += 1
        log.warning("bluetooth_adapter_reset", after=BEYOND_RECOVERY)
        await self._reset()


@asynccontextmanager
async def _available() -> AsyncIterator[None]:
    """Turns the various errors of bleak on hosts without Bluetooth into one RadioError with the remedy."""
    try:
        yield
    except BleakBluetoothNotAvailableError as error:
        reason = f"{error.args[0]}; {error.reason.name.lower().replace('_', ' ')}"
        raise RadioError(_NO_ADAPTER.format(reason=reason)) from None
    except (FileNotFoundError, ConnectionRefusedError, PermissionError) as error:
        raise RadioError(_NO_ADAPTER.format(reason=f"no D-Bus: {error.strerror or error}")) from None
    except BleakError as error:
        if "adapter" in str(error).lower():
            raise RadioError(_NO_ADAPTER.format(reason=error)) from None
        raise
