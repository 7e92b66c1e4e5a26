"""Release bundles on this relay's disk: accepted only if their signature is valid, and served unchanged."""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from core.contracts.bundle import read_bundle
from core.contracts.errors import ContractError
from core.contracts.release import MAX_BYTES, Manifest, decode_keys
from relay.errors import NotAllowed, StoreUnavailable, TooLarge

Bring = Callable[[str, Path], Awaitable[bool]]


class Taken(NamedTuple):
    manifest: Manifest
    file: str
    sha256: str
    size: int


class ReleaseFolder:
    """The folder of bundles. `keys` is the file of trusted public keys, read anew for every bundle, so that keys can be
    changed while the relay runs.
    """

    def __init__(self, folder: Path, keys: Path) -> None:
        self._folder, self._keys = folder, keys
        self._fetching = asyncio.Lock()

    def path(self, file: str) -> Path:
        return self._folder / file

    async def fetched(self, file: str, sha256: str, bring: Bring) -> Path | None:
        """Path of a bundle, fetched first if another relay received it. None if it cannot be had."""
        path = self._folder / file
        async with self._fetching:
            if path.exists():
                return path
            partial = self._folder / f".{uuid.uuid4().hex}.part"
            try:
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                if not await bring(file, partial) or await asyncio.to_thread(_digest, partial) != sha256:
                    return None
                await asyncio.to_thread(partial.replace, path)
            except OSError as error:
                raise StoreUnavailable(f"The bundle could not be stored: {error.strerror}.") from None
            finally:
                partial.unlink(missing_ok=True)
        return path

    async def take(self, body: AsyncIterator[bytes]) -> Taken:
        """Check and store an uploaded bundle. NotAllowed says why one is refused; nothing of it is kept then."""
        partial = self._folder / f".{uuid.uuid4().hex}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            digest, size = await self._receive(body, partial)
            manifest = await asyncio.to_thread(self._check, partial)
            name = "-".join(filter(None, ["homeside", manifest.version, manifest.python, manifest.machine])) + ".tar"
            await asyncio.to_thread(partial.replace, self._folder / name)
        except ContractError as error:
            raise NotAllowed(str(error)) from None
        except OSError as error:
            raise StoreUnavailable(f"The bundle could not be stored: {error.strerror}.") from None
        finally:
            partial.unlink(missing_ok=True)
        return Taken(manifest, name, digest, size)

    async def _receive(self, body: AsyncIterator[bytes], partial: Path) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        with partial.open("xb") as file:
            async for chunk in body:
                size += len(chunk)
                if size > MAX_BYTES:
                    raise TooLarge(f"A bundle may have {MAX_BYTES >> 30} GiB.")
                digest.update(chunk)
                await asyncio.to_thread(file.write, chunk)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        return digest.hexdigest(), size

    def _check(self, path: Path) -> Manifest:
        try:
            keys = decode_keys(self._keys.read_text())
        except FileNotFoundError:
            raise NotAllowed(
                f"This relay trusts no key yet: put the release key's public line into {self._keys.name} in its data "
                "folder (homeside release key prints it)."
            ) from None
        with path.open("rb") as stream:
            return read_bundle(stream, keys)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
