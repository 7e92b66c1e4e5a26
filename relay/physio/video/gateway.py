"""Storage of complete videos: the relay's own folder, or a bucket of S3-compatible storage.

A video appears under its key completely or not at all. Keys begin with their session's id, so that all videos of a
session can be found and removed even if the database does not know them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import structlog

from relay.errors import StoreUnavailable, reason

PIECE_BYTES = 256 * 1024
PATIENCE = timedelta(seconds=10)
AWAY = "The storage of videos does not answer. Try again in a moment."
log = structlog.get_logger(__name__)


class Shelf(Protocol):
    """Storage for complete videos."""

    async def keep(self, key: str, file: Path) -> None:
        """Take over the file and store it under this key."""
        ...

    async def size(self, key: str) -> int | None:
        """Size in bytes; None if there is no such video."""
        ...

    def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, not including, `stop`."""
        ...

    async def remove(self, prefix: str) -> int:
        """Remove every video whose key begins with `prefix`; returns how many."""
        ...


class VideoFolder:
    """Videos as files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def keep(self, key: str, file: Path) -> None:
        await asyncio.to_thread(file.replace, self._path(key))

    async def size(self, key: str) -> int | None:
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError:
            return None

    async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        with await asyncio.to_thread(self._path(key).open, "rb") as file:
            file.seek(start)
            while start < stop:
                piece = await asyncio.to_thread(file.read, min(PIECE_BYTES, stop - start))
                if not piece:
                    return
                start += len(piece)
                yield piece

    async def remove(self, prefix: str) -> int:
        found = [path for path in self._folder.glob(f"{Path(prefix).name}*") if path.suffix == ""]
        for path in found:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        return len(found)

    def _path(self, key: str) -> Path:
        return self._folder / Path(key).name


class VideoBucket:
    """Videos as objects: uploaded in parts if larger than a few megabytes, read by ranges. The bucket must already
    exist.
    """

    def __init__(self, bucket: str, prefix: str, *, endpoint: str, region: str, keys: tuple[str, str]) -> None:
        import obstore
        from obstore.store import S3Store

        self._calls: Any = obstore
        self._prefix = prefix
        self._store = S3Store(
            bucket,
            endpoint=endpoint or None,
            region=region,
            access_key_id=keys[0],
            secret_access_key=keys[1],
            virtual_hosted_style_request=False,
            client_options={"allow_http": endpoint.startswith("http://"), "connect_timeout": "5s"},
            retry_config={"max_retries": 2, "retry_timeout": PATIENCE},
        )

    async def keep(self, key: str, file: Path) -> None:
        with self._answering("keep"):
            await self._calls.put_async(self._store, self._prefix + key, file)
        await asyncio.to_thread(file.unlink, missing_ok=True)

    async def size(self, key: str) -> int | None:
        with self._answering("size"):
            try:
                return int((await self._calls.head_async(self._store, self._prefix + key))["size"])
            except FileNotFoundError:
                return None

    async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        with self._answering("read"):
            found = await self._calls.get_async(self._store, self._prefix + key, options={"range": (start, stop)})
            async for piece in found.stream(min_chunk_size=PIECE_BYTES):
                yield bytes(piece)

    async def remove(self, prefix: str) -> int:
        with self._answering("remove"):
            folder, _, begins = (self._prefix + prefix).rpartition("/")
            listed = await self._calls.list(self._store, folder or None).collect_async()
            found = [one["path"] for one in listed if one["path"].rpartition("/")[2].startswith(begins)]
            if found:
                await self._calls.delete_async(self._store, found)
        return len(found)

    @contextmanager
    def _answering(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._calls.exceptions.BaseError as error:
            log.error("video_storage_failed", what=what, error=type(error).__name__, reason=reason(error))
            raise StoreUnavailable(AWAY) from error
