"""A frame is 0x00, COBS(payload, CRC-32 of the payload), 0x00; anything else between two zeros is damage.

A zero both opens and closes a frame, so garbage before a frame cannot damage it. Byte stuffing: Cheshire and Baker,
"Consistent Overhead Byte Stuffing", IEEE/ACM ToN 7(2), 1999. CRC-32 as in Ethernet (zlib.crc32).
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Callable

import msgspec
from cobs import cobs

from firmware_bridge.errors import Damage, FrameError

DELIMITER = b"\0"
MAX_PAYLOAD = 1024
"""Bytes of a payload: bounds what a device must buffer, and what noise can make this program keep."""
_CRC = struct.Struct("<I")
MAX_ENCODED = MAX_PAYLOAD + _CRC.size + (MAX_PAYLOAD + _CRC.size) // 254 + 1
"""Bytes between two delimiters: COBS adds one in 254, plus one."""
KEPT_OF_DAMAGED = 64
"""Bytes of a damaged frame shown to people; enough to recognise another protocol or a boot message."""


class Damaged(msgspec.Struct, frozen=True):
    """Bytes that are no valid message: the reason, and the first `KEPT_OF_DAMAGED` of them as received."""

    reason: Damage
    data: bytes


def encode(payload: bytes) -> bytes:
    """The frame for a payload of 1 to MAX_PAYLOAD bytes, with both delimiters."""
    if not 0 < len(payload) <= MAX_PAYLOAD:
        raise FrameError(Damage.LENGTH, f"payload of {len(payload)} bytes; frames carry 1 to {MAX_PAYLOAD}")
    stuffed: bytes = cobs.encode(payload + _CRC.pack(zlib.crc32(payload)))
    return DELIMITER + stuffed + DELIMITER


def decode(encoded: bytes) -> bytes:
    """The payload of the bytes between two delimiters; FrameError when damaged."""
    if len(encoded) > MAX_ENCODED:
        raise FrameError(Damage.TOO_LONG)
    try:
        whole: bytes = cobs.decode(encoded)
    except cobs.DecodeError:
        raise FrameError(Damage.NOT_COBS) from None
    payload, crc = whole[: -_CRC.size], whole[-_CRC.size :]
    if not payload or zlib.crc32(payload) != int.from_bytes(crc, "little"):
        raise FrameError(Damage.CHECKSUM)
    return payload


class Splitter:
    """Takes bytes however split; returns payloads and damage in order. Holds at most `longest` bytes.

    `read` returns the payload of the bytes between two delimiters, or raises FrameError.
    """

    def __init__(
        self,
        delimiter: bytes = DELIMITER,
        longest: int = MAX_ENCODED,
        read: Callable[[bytes], bytes] = decode,
    ) -> None:
        self.damaged: Counter[Damage] = Counter()
        self._delimiter, self._longest, self._read = delimiter, longest, read
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | Damaged]:
        """What is complete by now, in order; a frame longer than `longest` is reported as damage once."""
        parts = (self._rest + data).split(self._delimiter)
        if self._skipping and len(parts) > 1:
            parts[0], self._skipping = b"", False
        rest = parts.pop()
        found = [self._open(part) for part in parts if part]
        if len(rest) > self._longest and not self._skipping:
            self._skipping = True
            found.append(self._damage(Damage.TOO_LONG, rest))
        self._rest = b"" if self._skipping else rest
        return found

    def break_off(self) -> None:
        """The port was closed: forget an unfinished frame."""
        self._rest, self._skipping = b"", False

    def _open(self, encoded: bytes) -> bytes | Damaged:
        try:
            return self._read(encoded)
        except FrameError as error:
            return self._damage(error.damage, encoded)

    def _damage(self, reason: Damage, encoded: bytes) -> Damaged:
        self.damaged[reason] += 1
        return Damaged(reason, encoded[:KEPT_OF_DAMAGED])
