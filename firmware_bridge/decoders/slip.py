"""Our own payloads in SLIP frames (RFC 1055), for boards whose serial library has SLIP and no COBS.

A frame is END, the payload and its CRC-32 with END and ESC escaped, END. The rest is as in `docs/serial-frame.md`.
"""

from __future__ import annotations

import zlib
from collections import Counter

from firmware_bridge import framing
from firmware_bridge.decoders.homeside_serial import HomesideSerial
from firmware_bridge.errors import Damage
from firmware_bridge.framing import KEPT_OF_DAMAGED, MAX_PAYLOAD, Damaged

END, ESC, ESC_END, ESC_ESC = b"\xc0", b"\xdb", b"\xdb\xdc", b"\xdb\xdd"
MAX_ENCODED = 2 * (MAX_PAYLOAD + 4)
"""Bytes between two ENDs, should all of them be escaped."""


def encode(payload: bytes) -> bytes:
    whole = payload + zlib.crc32(payload).to_bytes(4, "little")
    return END + whole.replace(ESC, ESC_ESC).replace(END, ESC_END) + END


def reframed(frame: bytes) -> bytes:
    """A frame of ours, as `firmware_bridge.commands` makes them, in SLIP."""
    return encode(framing.decode(frame.strip(framing.DELIMITER)))


class SlipSplitter:
    """Bytes in any split, payloads and damage out; it never holds more than MAX_ENCODED bytes."""

    def __init__(self) -> None:
        self.damaged: Counter[Damage] = Counter()
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | Damaged]:
        *parts, rest = (self._rest + data).split(END)
        if self._skipping and parts:
            parts[0], self._skipping = b"", False
        found = [self._open(part) for part in parts if part]
        if len(rest) > MAX_ENCODED and not self._skipping:
            self._skipping = True
            found.append(self._damage(Damage.TOO_LONG, rest))
        self._rest = b"" if self._skipping else rest
        return found

    def break_off(self) -> None:
        self._rest, self._skipping = b"", False

    def _open(self, encoded: bytes) -> bytes | Damaged:
        if encoded.count(ESC) != encoded.count(ESC_END) + encoded.count(ESC_ESC) or len(encoded) > MAX_ENCODED:
            return self._damage(Damage.LENGTH, encoded)
        whole = encoded.replace(ESC_END, END).replace(ESC_ESC, ESC)
        payload, crc = whole[:-4], whole[-4:]
        if not 0 < len(payload) <= MAX_PAYLOAD or zlib.crc32(payload) != int.from_bytes(crc, "little"):
            return self._damage(Damage.CHECKSUM, encoded)
        return payload

    def _damage(self, reason: Damage, encoded: bytes) -> Damaged:
        self.damaged[reason] += 1
        return Damaged(reason, encoded[:KEPT_OF_DAMAGED])


class HomesideSlip(HomesideSerial):
    def __init__(self) -> None:
        super().__init__(SlipSplitter())
