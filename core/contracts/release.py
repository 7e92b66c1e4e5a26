"""A release: its files, the signature over the list of them, and how versions are ordered. Pure functions on bytes.

A bundle is a tar archive whose first two members are `manifest.json` and `manifest.sig`. The manifest names every other
file with its size and SHA-256, so one Ed25519 signature (RFC 8032) over its exact bytes covers everything.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from core.contracts.errors import InvalidMessage

FORMAT = 1
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
DOMAIN = b"homeside release\n"
"""Prepended to the signed bytes, so that a signature made for another purpose is never valid for a release."""
MAX_MANIFEST = 1 << 20
MAX_FILES = 2000
MAX_BYTES = 8 << 30
_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:(a|b|rc)(\d{1,6}))?(?:\.post(\d{1,6}))?")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}){0,3}")
_STAGES = {"a": 0, "b": 1, "rc": 2, None: 3}


class File(msgspec.Struct, forbid_unknown_fields=True):
    """A file of a release: SHA-256 in hexadecimal, size in bytes."""

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES)]


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """`python` and `machine` say what the release runs on, such as cp311 and aarch64; an empty string means any."""

    format: int
    version: str
    made: str
    files: dict[str, File]
    python: str = ""
    machine: str = ""
    notes: str = ""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files.values())


def decode_manifest(data: bytes) -> Manifest:
    """Decode the manifest and check its own consistency. Raises InvalidMessage, which says what is wrong."""
    try:
        found = msgspec.json.decode(data, type=Manifest)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise InvalidMessage(f"The release's manifest is not one: {error}") from None
    if found.format != FORMAT:
        raise InvalidMessage(f"The release is of format {found.format}; this program reads format {FORMAT}")
    parse_version(found.version)
    if len(found.files) > MAX_FILES or found.size > MAX_BYTES:
        raise InvalidMessage(f"The release has more than {MAX_FILES} files or {MAX_BYTES >> 30} GiB")
    for name in found.files:
        if not _NAME.fullmatch(name) or name in (MANIFEST, SIGNATURE):
            raise InvalidMessage(f"The release names a file it may not: {name[:100]!r}")
    return found


def parse_version(text: str) -> tuple[int, int, int, int, int, int]:
    """`1.4.2`, `1.5.0rc1` or `1.4.2.post1` as a sortable tuple (a subset of PEP 440).

    Raises InvalidMessage otherwise.
    """
    found = _VERSION.fullmatch(text)
    if found is None:
        raise InvalidMessage(f"{text[:40]!r} is no version; expected one such as 1.4.2, 1.5.0rc1 or 1.4.2.post1")
    major, minor, patch, stage, number, post = found.groups()
    return int(major), int(minor), int(patch), _STAGES[stage], int(number or 0), int(post or 0)


def newer(one: str, other: str) -> bool:
    """Whether `one` is a later version than `other`; a text that is not a version is older than any version."""
    return _order(one) > _order(other)


def _order(text: str) -> tuple[int, ...]:
    try:
        return parse_version(text)
    except InvalidMessage:
        return ()


def signed_by(manifest: bytes, signature: bytes, keys: Iterable[Ed25519PublicKey]) -> bool:
    """Whether one of the keys made this signature over exactly these bytes."""
    for key in keys:
        try:
            key.verify(signature, DOMAIN + manifest)
        except InvalidSignature:
            continue
        return True
    return False


def encode_key(key: Ed25519PublicKey, name: str) -> str:
    """A public key as one line of a trusted-keys file."""
    return f"ed25519 {base64.b64encode(key.public_bytes_raw()).decode()} {name}"


def decode_keys(text: str) -> list[Ed25519PublicKey]:
    """The keys of a trusted-keys file, ignoring empty lines and # comments.

    Raises InvalidMessage, naming the bad line.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        key = _key(words)
        if key is None:
            raise InvalidMessage(f"Line {number} of the trusted keys is no key: expected ed25519 BASE64 NAME")
        found.append(key)
    return found


def _key(words: list[str]) -> Ed25519PublicKey | None:
    if len(words) < 2 or words[0] != "ed25519":
        return None
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(words[1], validate=True))
    except (ValueError, binascii.Error):
        return None
