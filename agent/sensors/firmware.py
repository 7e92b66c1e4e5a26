"""Updates a sensor's firmware through MCUmgr's SMP: upload, trial, and confirmation once the new image runs.

The new image is only marked for trial and runs once after the restart. If it is not confirmed, because the sensor never
answered, MCUboot restores the previous one at the next restart. An interrupted upload continues where it stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import structlog
from smpclient import SMPClient
from smpclient.exceptions import SMPClientException
from smpclient.generics import error as is_error
from smpclient.requests.image_management import ImageStatesRead, ImageStatesWrite
from smpclient.requests.os_management import ResetWrite
from smpclient.transport import SMPTransport, SMPTransportDisconnected
from smpclient.transport.serial import SMPSerialTransport

from agent.errors import UpdateFailed
from firmware_bridge.errors import ImageError
from firmware_bridge.mcuboot import parse_image

log = structlog.get_logger(__name__)

CONNECT_WITHIN_S = 10.0
ANSWER_WITHIN_S = 5.0
TRIES = 12
PAUSE_S = 0.5
BACK_WITHIN_S = 90.0
"""MCUboot swaps the two slots before anything runs, which takes half a minute on slow flash."""
_BROKEN_OFF = (SMPTransportDisconnected, TimeoutError, OSError)


class Image(NamedTuple):
    """An image slot as the sensor reports it; `flags` in MCUboot's terms."""

    slot: int
    version: str
    hash: str
    flags: tuple[str, ...]

    def said(self) -> dict[str, Any]:
        return {**self._asdict(), "flags": list(self.flags)}


class Way(NamedTuple):
    """How a sensor is reached: its address, and the transport for SMP."""

    address: str
    transport: SMPTransport

    @classmethod
    def over_serial(cls, port: str, baud: int) -> Way:
        return cls(port, SMPSerialTransport(baudrate=baud))


class Updater:
    """`progress` receives the uploaded share of the image, 0 to 1. All methods raise UpdateFailed."""

    def __init__(self, way: Way, progress: Callable[[float], None]) -> None:
        self.cuts = 0
        """How often the connection broke during an upload that was then continued."""
        self._way, self._progress = way, progress

    async def images(self) -> list[Image]:
        async with self._told(), self._client() as client:
            return await _states(client)

    async def confirm(self) -> list[Image]:
        """Confirm the running image, so that it is kept."""
        async with self._told(), self._client() as client:
            return await _write(client, ImageStatesWrite(confirm=True))

    async def update(self, image: bytes, *, reset: bool = True) -> list[Image]:
        """Upload, mark for trial, restart, and confirm the image once it runs; returns the slots afterwards."""
        try:
            digest = parse_image(image).digest
        except ImageError as error:
            raise UpdateFailed(str(error)) from None
        async with self._told(), self._client() as client:
            if (slots := await _states(client)) and _runs(slots, digest):
                return await _write(client, ImageStatesWrite(confirm=True))
        await self._upload(image)
        async with self._told(), self._client() as client:
            if not any(one.hash == digest.hex() for one in await _states(client)):
                raise UpdateFailed("the image is there, and the sensor does not know it: is it made for this board?")
            slots = await _write(client, ImageStatesWrite(hash=digest))
            if not reset:
                return slots
            with suppress(*_BROKEN_OFF):  # it may be gone before it has answered
                await client.request(ResetWrite())
        return await self._came_up(digest)

    async def _upload(self, image: bytes) -> None:
        """Upload, resuming after interruptions: the server recognises the image by its SHA-256 and says how
        far it got.
        """
        tried, reached = 0, -1
        while True:
            try:
                async with self._client() as client:
                    async for offset in client.upload(image, subsequent_timeout_s=ANSWER_WITHIN_S):
                        tried, reached = (0, offset) if offset > reached else (tried, reached)
                        self._progress(offset / len(image))
            except SMPClientException as refused:
                raise UpdateFailed(f"the sensor refuses the image: {refused}") from None
            except _BROKEN_OFF as broken:
                tried += 1
                self.cuts += 1
                if tried >= TRIES:
                    raise UpdateFailed(f"the way to {self._way.address} breaks off again and again: {broken}") from None
                log.warning("update_interrupted", at=max(reached, 0), of=len(image), reason=str(broken))
                await asyncio.sleep(PAUSE_S)
            else:
                return

    async def _came_up(self, digest: bytes) -> list[Image]:
        """Wait for the sensor after its restart, and confirm our image if it runs; otherwise UpdateFailed says what
        runs instead.
        """
        deadline = asyncio.get_running_loop().time() + BACK_WITHIN_S
        while True:
            await asyncio.sleep(PAUSE_S)
            try:
                async with self._client() as client:
                    slots = await _states(client)
                    if _runs(slots, digest):
                        return await _write(client, ImageStatesWrite(confirm=True))
            except _BROKEN_OFF as away:
                if asyncio.get_running_loop().time() > deadline:
                    raise UpdateFailed(
                        f"the sensor did not come back after its restart ({away}): restart it once more by hand, and "
                        "MCUboot puts the firmware before back"
                    ) from None
                continue
            version = next((one.version for one in slots if "active" in one.flags), "none")
            raise UpdateFailed(f"the new firmware did not come up: {version} runs again, nothing was changed")

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        try:
            yield
        except _BROKEN_OFF as error:
            raise UpdateFailed(f"{self._way.address} does not answer: {error or type(error).__name__}") from None

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[SMPClient]:
        client = SMPClient(self._way.transport, self._way.address, timeout_s=ANSWER_WITHIN_S)
        try:
            await client.connect(CONNECT_WITHIN_S)
        except BaseException:
            await self._way.transport.disconnect()
            raise
        try:
            yield client
        finally:
            await self._way.transport.disconnect()


def _runs(slots: list[Image], digest: bytes) -> bool:
    return any(one.hash == digest.hex() and "active" in one.flags for one in slots)


async def _states(client: SMPClient) -> list[Image]:
    return await _write(client, ImageStatesRead())


async def _write(client: SMPClient, request: Any) -> list[Image]:
    response = await client.request(request)
    if is_error(response):
        raise UpdateFailed(f"the sensor refuses: {response}")
    found: Any = response
    return [
        Image(
            one.slot,
            one.version,
            (one.hash or b"").hex(),
            tuple(flag for flag in ("active", "confirmed", "pending", "permanent") if getattr(one, flag)),
        )
        for one in found.images
    ]
