"""An image for the MCUboot bootloader: its version, its digest, and whether it is complete.

Source: MCUboot design document, "Image format": a header of 32 bytes, the body, then tagged values, one of which is the
SHA-256 of everything before them. The signature is for the bootloader to check, which holds the key.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

from firmware_bridge.errors import ImageError

MAGIC = 0x96F3B83D
TLV_MAGIC = 0x6907
_HEADER = struct.Struct("<IIHHIIBBHII")
_TLV = struct.Struct("<HH")
_SHA256 = 0x10
_NO_IMAGE = "this is no image for MCUboot ({}): give the signed .bin of the build"


class FirmwareImage(NamedTuple):
    """`digest`: the SHA-256 by which MCUboot and MCUmgr identify the image."""

    version: str
    digest: bytes


def parse_image(data: bytes) -> FirmwareImage:
    """Parse an image. Raises ImageError for a file that is none, or a damaged one."""
    if len(data) < _HEADER.size:
        raise ImageError(_NO_IMAGE.format(f"{len(data)} bytes"))
    magic, _, head, protected, body, _, major, minor, revision, build, _ = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise ImageError(_NO_IMAGE.format(f"it begins with {data[:4].hex()}"))
    covered = head + body + protected
    digest = _tagged(data, covered).get(_SHA256)
    if digest is None:
        raise ImageError(_NO_IMAGE.format("no digest in it"))
    if hashlib.sha256(data[:covered]).digest() != digest:
        raise ImageError("the image is damaged: its digest is another; copy or build it again")
    return FirmwareImage(f"{major}.{minor}.{revision}" + (f".{build}" if build else ""), digest)


def _tagged(data: bytes, at: int) -> dict[int, bytes]:
    if len(data) < at + _TLV.size:
        raise ImageError(_NO_IMAGE.format("it ends too soon"))
    magic, length = _TLV.unpack_from(data, at)
    if magic != TLV_MAGIC:
        raise ImageError(_NO_IMAGE.format("no trailer where its header says"))
    end, at, found = min(at + length, len(data)), at + _TLV.size, dict[int, bytes]()
    while at + _TLV.size <= end:
        kind, size = _TLV.unpack_from(data, at)
        found[kind] = data[at + _TLV.size : at + _TLV.size + size]
        at += _TLV.size + size
    return found
