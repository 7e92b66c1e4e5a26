"""Reads a release bundle from a stream. Nothing in it is used before the signature of its manifest has been verified.

Refused: a missing or unknown signature; a file that is missing, unlisted or differs from the manifest in size or hash;
a link; a truncated archive.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from core.contracts.errors import InvalidMessage
from core.contracts.release import MANIFEST, MAX_MANIFEST, SIGNATURE, File, Manifest, decode_manifest, signed_by

CHUNK = 1 << 20
SIGNATURE_BYTES = 64
Write = Callable[[str, Iterator[bytes]], None]


def read_bundle(stream: IO[bytes], keys: Iterable[Ed25519PublicKey], write: Write | None = None) -> Manifest:
    """Verify a whole bundle, passing each file to `write` as it is read. Until this returns, what was written is
    unverified.

    `write` must consume its iterator completely. Raises InvalidMessage, which says why the bundle is refused.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            manifest = _head(archive, keys)
            _files(archive, manifest, write or _discard)
    except (tarfile.TarError, EOFError) as error:
        raise InvalidMessage(f"The bundle is truncated or no bundle at all ({error})") from None
    return manifest


def read_manifest(stream: IO[bytes], keys: Iterable[Ed25519PublicKey]) -> Manifest:
    """Read and verify only the signed manifest at the start of the bundle."""
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            return _head(archive, keys)
    except (tarfile.TarError, EOFError) as error:
        raise InvalidMessage(f"The bundle is truncated or no bundle at all ({error})") from None


def _head(archive: tarfile.TarFile, keys: Iterable[Ed25519PublicKey]) -> Manifest:
    manifest = _small(archive, MANIFEST, MAX_MANIFEST)
    signature = _small(archive, SIGNATURE, SIGNATURE_BYTES)
    if not signed_by(manifest, signature, keys):
        raise InvalidMessage("The bundle is not signed by a key that is trusted here")
    return decode_manifest(manifest)


def _small(archive: tarfile.TarFile, name: str, most: int) -> bytes:
    member = archive.next()
    if member is None or member.name != name or not member.isreg() or member.size > most:
        raise InvalidMessage(f"The bundle does not begin with {MANIFEST} and {SIGNATURE}")
    return b"".join(_chunks(archive, member))


def _files(archive: tarfile.TarFile, manifest: Manifest, write: Write) -> None:
    missing = dict(manifest.files)
    while (member := archive.next()) is not None:
        expected = missing.pop(member.name, None)
        if expected is None or not member.isreg() or member.size != expected.size:
            raise InvalidMessage(f"The bundle holds {member.name[:100]!r}, which its manifest does not name like this")
        write(member.name, _hashed(archive, member, expected))
    if missing:
        raise InvalidMessage(f"The bundle ends before {next(iter(missing))!r}: it is truncated")


def _hashed(archive: tarfile.TarFile, member: tarfile.TarInfo, expected: File) -> Iterator[bytes]:
    digest = hashlib.sha256()
    for chunk in _chunks(archive, member):
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != expected.sha256:
        raise InvalidMessage(f"{member.name!r} in the bundle is not the file that was signed: it is corrupt")


def _chunks(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    file = archive.extractfile(member)
    assert file is not None
    left = member.size
    while left:
        chunk = file.read(min(CHUNK, left))
        if not chunk:
            raise InvalidMessage(f"The bundle ends inside {member.name!r}: it is truncated")
        left -= len(chunk)
        yield chunk


def _discard(_name: str, chunks: Iterator[bytes]) -> None:
    deque(chunks, maxlen=0)
