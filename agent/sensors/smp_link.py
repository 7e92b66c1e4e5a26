"""MCUmgr's SMP over our own radio link, so that an update finds and reaches a sensor exactly as its samples do.

Source: Zephyr's SMP transport over Bluetooth: one characteristic, written without response, answered by notification.
"""

from __future__ import annotations

from smp.header import Header
from smpclient.transport import (
    SMP_CHARACTERISTIC_UUID,
    SMP_SERVICE_UUID,
    SMPTransport,
    SMPTransportDisconnected,
)

from agent.errors import LinkLost, RadioError, SensorNotFound, SourceError
from agent.sources.ble.radio import Link, Radio, Seen
from firmware_bridge.gatt import Write

SERVICE, CHARACTERISTIC = str(SMP_SERVICE_UUID), str(SMP_CHARACTERISTIC_UUID)
ANSWER_WITHIN_S = 40.0
"""The first answer may have to wait until a whole image slot is erased; the client's own timeouts are shorter
elsewhere."""


class LinkTransport(SMPTransport):
    """One sensor, by address or name. `connect` searches for it each time, because it restarts during an update."""

    def __init__(self, radio: Radio) -> None:
        self._radio = radio
        self._link: Link | None = None
        self._heard = b""

    async def connect(self, address: str, timeout_s: float) -> None:
        """Find and connect. Raises SMPTransportDisconnected when the sensor is not in reach or has no SMP service."""
        try:
            found = await self._radio.scan(timeout_s, lambda seen: 0.0 if _meant(seen, address) else None)
            if (one := _meant(found, address)) is None:
                raise SensorNotFound(f"{address} is not in reach")
            link = await self._radio.connect(one)
            if not link.has(CHARACTERISTIC):
                await link.close()
                raise RadioError(f"{address} takes no firmware over the air: it has no SMP service ({SERVICE})")
            await link.listen(CHARACTERISTIC)
        except SourceError as error:
            raise SMPTransportDisconnected(str(error)) from None
        self._link, self._heard = link, b""

    async def disconnect(self) -> None:
        if self._link is not None:
            link, self._link = self._link, None
            await link.close()

    async def send(self, data: bytes) -> None:
        link = self._open()
        size = link.room(CHARACTERISTIC)
        try:
            for at in range(0, len(data), size):
                await link.write(Write(CHARACTERISTIC, data[at : at + size], response=False))
        except LinkLost as lost:
            raise SMPTransportDisconnected(str(lost)) from None

    async def receive(self) -> bytes:
        link = self._open()
        try:
            while len(self._heard) < Header.SIZE or len(self._heard) < self._whole():
                for _, data, _ in await link.packets(ANSWER_WITHIN_S):
                    self._heard += data
        except LinkLost as lost:
            raise SMPTransportDisconnected(str(lost)) from None
        whole, self._heard = self._heard[: self._whole()], self._heard[self._whole() :]
        return whole

    async def send_and_receive(self, data: bytes) -> bytes:
        self._heard = b""
        await self.send(data)
        return await self.receive()

    @property
    def mtu(self) -> int:
        return self._open().room(CHARACTERISTIC)

    def _whole(self) -> int:
        return Header.SIZE + Header.loads(self._heard[: Header.SIZE]).length

    def _open(self) -> Link:
        if self._link is None:
            raise SMPTransportDisconnected("not connected")
        return self._link


def _meant(seen: list[Seen], wanted: str) -> Seen | None:
    found = [one for one in seen if one.address.upper() == wanted.upper() or one.name == wanted]
    return found[0] if found else None
