"""Packs a bundle and signs it. The same contents give the same bytes, whoever packs them and whenever.

Packing and signing are separate steps, so that the private key can stay on a machine that builds nothing.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from core.contracts.bundle import read_bundle
from core.contracts.errors import ContractError
from core.contracts.release import DOMAIN, FORMAT, MANIFEST, SIGNATURE, File, Manifest, decode_manifest
from provisioning.errors import ReleaseUnusable


def pack(target: Path, files: Mapping[str, Path], manifest: Manifest) -> Manifest:
    """Write an unsigned bundle of `files` (name in the bundle to path); returns the manifest completed with them."""
    listed = {name: _file(path) for name, path in sorted(files.items())}
    whole = msgspec.structs.replace(manifest, format=FORMAT, files=listed)
    head = msgspec.json.format(msgspec.json.encode(whole), indent=1)
    decode_manifest(head)
    with _fresh(target) as archive:
        _add(archive, MANIFEST, head)
        for name in listed:
            with files[name].open("rb") as stream:
                archive.addfile(_info(name, listed[name].size), stream)
    return whole


def sign(unsigned: Path, target: Path, key: Ed25519PrivateKey) -> Manifest:
    """Write the bundle with a signature. ReleaseUnusable when it is no bundle or contradicts its manifest."""
    try:
        with tarfile.open(unsigned, "r:") as archive, _fresh(target) as signed:
            first = archive.next()
            head = archive.extractfile(first) if first is not None and first.name == MANIFEST else None
            if head is None:
                raise ReleaseUnusable(f"{unsigned} does not begin with {MANIFEST}: make one with homeside release make")
            manifest = head.read()
            decode_manifest(manifest)
            _add(signed, MANIFEST, manifest)
            _add(signed, SIGNATURE, key.sign(DOMAIN + manifest))
            while (member := archive.next()) is not None:
                if member.name != SIGNATURE:
                    signed.addfile(_info(member.name, member.size), archive.extractfile(member))
    except (OSError, tarfile.TarError, ContractError) as error:
        raise ReleaseUnusable(f"{unsigned}: {error}") from None
    return verify(target, [key.public_key()])


def verify(path: Path, keys: Iterable[Ed25519PublicKey]) -> Manifest:
    try:
        with path.open("rb") as stream:
            return read_bundle(stream, keys)
    except ContractError as error:
        raise ReleaseUnusable(f"{path.name}: {error}") from None
    except OSError as error:
        raise ReleaseUnusable(f"{path}: {error.strerror}") from None


def make_key(path: Path) -> Ed25519PrivateKey:
    """Create a private key readable by its owner only. Raises ReleaseUnusable rather than overwrite an existing one."""
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
    except OSError as error:
        raise ReleaseUnusable(f"{path}: {error.strerror}") from None
    return key


def load_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ReleaseUnusable(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ReleaseUnusable(f"{path} is no private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ReleaseUnusable(f"{path} is no Ed25519 key; homeside release key makes one")
    return key


def _file(path: Path) -> File:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    return File(digest.hexdigest(), size)


@contextmanager
def _fresh(target: Path) -> Iterator[tarfile.TarFile]:
    """A new bundle that appears only when complete. In pax format, as some wheels' names exceed 100 characters."""
    partial = target.with_name(f".{target.name}.part")
    try:
        with tarfile.open(partial, "w:", format=tarfile.PAX_FORMAT) as archive:
            yield archive
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _info(name: str, size: int) -> tarfile.TarInfo:
    """Owner, time and mode are the same for all members, so that they reveal nothing about where a bundle
    was packed.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    archive.addfile(_info(name, len(data)), io.BytesIO(data))
