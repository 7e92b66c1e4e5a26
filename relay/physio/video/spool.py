"""Uploads in progress: one file each, appended to until the video is complete.

Received bytes are kept when a connection breaks, so that the client can resume. If two requests send the same upload,
the later one wins; the earlier, which may be a dead connection, writes nothing more.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from weakref import WeakValueDictionary

from relay.errors import Conflict, NotFound, TooLarge

LEAST_FREE_BYTES = 512 * 1024 * 1024
"""Disk space that uploads must leave free, so that the database can go on writing."""
SUFFIX = ".part"


class Spool:
    """File names are made here from UUIDs; nothing a client sends becomes part of a path."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self.max_bytes = max_bytes
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._senders: dict[str, object] = {}
        self._settling: set[str] = set()

    def size(self, upload: str) -> int:
        """Bytes of this upload received so far."""
        try:
            return self._part(upload).stat().st_size
        except FileNotFoundError:
            return 0

    async def append(self, upload: str, offset: int, chunks: AsyncIterator[bytes], announced: int | None = None) -> int:
        """Write `chunks` at `offset` (0 starts again); returns the size afterwards. Conflict unless the file ends at
        `offset`.

        If `announced` bytes would not fit, the request is refused before anything changes.
        """
        if upload in self._settling:
            raise Conflict("This upload is whole and is being kept.")
        self._check(offset + (announced or 0))
        await asyncio.to_thread(self._make_room, announced or 0)
        sender = self._senders[upload] = object()
        lock = self._locks.setdefault(upload, asyncio.Lock())
        try:
            async with lock:
                file = await asyncio.to_thread(self._open, upload, offset)
            with file:
                size = offset
                async for chunk in chunks:
                    size += len(chunk)
                    async with lock:
                        await self._write(upload, sender, file, chunk, size)
            self._still(upload, sender)
            return size
        finally:
            if self._senders.get(upload) is sender:
                del self._senders[upload]

    async def _write(self, upload: str, sender: object, file: BinaryIO, chunk: bytes, size: int) -> None:
        self._still(upload, sender)
        if os.fstat(file.fileno()).st_nlink == 0:
            raise NotFound("The session of this upload was deleted while it came, and the upload with it.")
        if size > self.max_bytes:
            self.drop(upload)
        self._check(size)
        await asyncio.to_thread(self._put, file, chunk)

    def _check(self, size: int) -> None:
        if size > self.max_bytes:
            raise TooLarge(f"A video may have {self.max_bytes} bytes at most.")

    def _still(self, upload: str, sender: object) -> None:
        if self._senders.get(upload) is not sender:
            raise Conflict("Another sender goes on with this upload.")

    @contextmanager
    def settled(self, upload: str) -> Iterator[None]:
        """Mark the upload as being stored, so that nobody restarts it. Enter without awaiting after `append` has
        returned.
        """
        self._settling.add(upload)
        try:
            yield
        finally:
            self._settling.discard(upload)

    async def whole(self, upload: str) -> Path:
        """The upload's file, synced to disk. Raises Conflict if it is empty."""
        part = self._part(upload)
        if self.size(upload) == 0:
            raise Conflict("The upload held no bytes. Send the video as the body.")
        await asyncio.to_thread(_to_disk, part)
        return part

    def drop(self, upload: str) -> None:
        self._part(upload).unlink(missing_ok=True)

    def sweep(self, older_than_s: float) -> int:
        """Remove uploads not written to for this long; returns how many."""
        before = time.time() - older_than_s
        old = [part for part in self._folder.glob(f"*{SUFFIX}") if part.stat().st_mtime < before]
        for part in old:
            part.unlink(missing_ok=True)
        return len(old)

    def _part(self, upload: str) -> Path:
        return self._folder / f"{uuid.UUID(upload)}{SUFFIX}"

    def _make_room(self, announced: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if shutil.disk_usage(self._folder).free - announced < LEAST_FREE_BYTES:
            raise TooLarge("The relay's disk is nearly full; its operator has to make room.")

    def _put(self, file: BinaryIO, chunk: bytes) -> None:
        self._make_room(len(chunk))
        file.write(chunk)

    def _open(self, upload: str, offset: int) -> BinaryIO:
        if offset == 0:
            return self._part(upload).open("wb", buffering=0)
        if (size := self.size(upload)) != offset:
            raise Conflict(f"The relay has {size} bytes of this upload, not {offset}. Ask for its offset with HEAD.")
        return self._part(upload).open("ab", buffering=0)


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
