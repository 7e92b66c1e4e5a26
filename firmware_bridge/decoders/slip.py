"""Our own payloads in SLIP frames (RFC 1055), for boards whose serial library supports SLIP but not COBS.

A frame is END, the payload and its CRC-32 with END and ESC escaped, END. The rest is as in `docs/serial-frame.md`.
"""

from __future__ import annotations

import zlib

from firmware_bridge import framing
from firmware_bridge.decoders.homeside_serial import HomesideSerial
from firmware_bridge.errors import Damage, FrameError
from firmware_bridge.framing import MAX_PAYLOAD, Splitter

END, ESC, ESC_END, ESC_ESC = b"\xc0", b"\xdb", b"\xdb\xdc", b"\xdb\xdd"
MAX_ENCODED = 2 * (MAX_PAYLOAD + 4)
"""Bytes between two ENDs if all of them were escaped."""


def encode(payload: bytes) -> bytes:
    whole = payload + zlib.crc32(payload).to_bytes(4, "little")
    return END + whole.replace(ESC, ESC_ESC).replace(END, ESC_END) + END


def reframed(frame: bytes) -> bytes:
    """A frame made by `firmware_bridge.commands`, converted to SLIP."""
    return encode(framing.decode(frame.strip(framing.DELIMITER)))


def decode(encoded: bytes) -> bytes:
    """The payload of the bytes between two ENDs; FrameError when damaged."""
    if len(encoded) > MAX_ENCODED:
        raise FrameError(Damage.TOO_LONG)
    if encoded.count(ESC) != encoded.count(ESC_END) + encoded.count(ESC_ESC):
        raise FrameError(Damage.LENGTH, "an escape that escapes nothing")
    whole = encoded.replace(ESC_END, END).replace(ESC_ESC, ESC)
    payload, crc = whole[:-4], whole[-4:]
    if not 0 < len(payload) <= MAX_PAYLOAD or zlib.crc32(payload) != int.from_bytes(crc, "little"):
        raise FrameError(Damage.CHECKSUM)
    return payload


class HomesideSlip(HomesideSerial):
    """The frames of our own boards in SLIP (RFC 1055), for serial lines that already use it."""

    def __init__(self) -> None:
        super().__init__(Splitter(END, MAX_ENCODED, decode))
