"""The folder videos are kept in. A video appears under its name whole and on the disk, or not at all."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from relay.errors import Conflict, TooLarge

LEAST_FREE_BYTES = 512 * 1024 * 1024
"""What stays free on the disk whatever is uploaded: the database must go on writing."""


class VideoFolder:
    """Names are made here, from UUIDs; nothing a client says becomes part of a path."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    async def save(self, session: str, chunks: AsyncIterator[bytes]) -> tuple[str, int]:
        """Write what comes to a file of its own; its key and size. TooLarge beyond the bound, leaving nothing."""
        key = f"{uuid.UUID(session)}-{uuid.uuid4().hex[:8]}"
        part = self._folder / f"{key}.part"
        size = 0
        try:
            file = await asyncio.to_thread(self._open, part)
            try:
                async for chunk in chunks:
                    size += len(chunk)
                    self._check(size)
                    await asyncio.to_thread(file.write, chunk)
                await asyncio.to_thread(_to_disk, file, size)
            finally:
                file.close()
            await asyncio.to_thread(part.replace, self._folder / key)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return key, size

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise TooLarge(f"A video may have {self._max_bytes} bytes at most.")

    def path(self, key: str) -> Path:
        return self._folder / Path(key).name

    async def remove(self, key: str) -> None:
        await asyncio.to_thread(self.path(key).unlink, missing_ok=True)

    def _open(self, part: Path) -> BinaryIO:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if shutil.disk_usage(self._folder).free < LEAST_FREE_BYTES:
            raise TooLarge("The relay's disk is nearly full; its operator has to make room.")
        return part.open("xb")


def _to_disk(file: BinaryIO, size: int) -> None:
    if size == 0:
        raise Conflict("The upload held no bytes. Send the video as the body.")
    file.flush()
    os.fsync(file.fileno())
