"""The host's commands to a device as complete frames, and their parsing, for devices written in Python.

Only one command of a kind may be outstanding. The device answers set_rate and set_range with a reply, identify with its
identity, and ping with a pong.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import ClassVar

import msgspec

from firmware_bridge.errors import CommandError, Damage, FrameError
from firmware_bridge.framing import encode
from firmware_bridge.protocol import HEAD, MAX_RANGE_G, MAX_RATE_HZ, VERSION, Kind, fields, kind_of, positive

MAX_TOKEN = 0xFFFF_FFFF


class SetRate(msgspec.Struct, frozen=True):
    """Sampling rate in Hz; answered with the rate then in effect."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<BBf")

    hz: float

    @classmethod
    def parse(cls, payload: bytes) -> SetRate:
        return cls(*fields(cls.LAYOUT, payload))

    def pack(self) -> bytes:
        return self.LAYOUT.pack(VERSION, Kind.SET_RATE, self.hz)


class SetRange(msgspec.Struct, frozen=True):
    """Full scale in g; answered with the range then in effect."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<BBf")

    g: float

    @classmethod
    def parse(cls, payload: bytes) -> SetRange:
        return cls(*fields(cls.LAYOUT, payload))

    def pack(self) -> bytes:
        return self.LAYOUT.pack(VERSION, Kind.SET_RANGE, self.g)


class Identify(msgspec.Struct, frozen=True):
    """Answered by an IdentityMessage."""

    @classmethod
    def parse(cls, payload: bytes) -> Identify:
        return cls(*fields(HEAD, payload))

    def pack(self) -> bytes:
        return HEAD.pack(VERSION, Kind.IDENTIFY)


class Ping(msgspec.Struct, frozen=True):
    """Answered by a PongMessage with the same `token` and the device's clock."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<BBI")

    token: int

    @classmethod
    def parse(cls, payload: bytes) -> Ping:
        return cls(*fields(cls.LAYOUT, payload))

    def pack(self) -> bytes:
        return self.LAYOUT.pack(VERSION, Kind.PING, self.token)


Command = SetRate | SetRange | Identify | Ping
_PARSERS: dict[int, Callable[[bytes], Command]] = {
    Kind.SET_RATE: SetRate.parse,
    Kind.SET_RANGE: SetRange.parse,
    Kind.IDENTIFY: Identify.parse,
    Kind.PING: Ping.parse,
}


def parse_command(payload: bytes) -> Command:
    """The host's command, its value unchecked: a device refuses what it cannot do.

    Raises FrameError for anything else.
    """
    parser = _PARSERS.get(kind_of(payload))
    if parser is None:
        raise FrameError(Damage.KIND, f"kind 0x{payload[1]:02x} from a host")
    return parser(payload)


def set_rate(hz: float) -> bytes:
    """Request `hz` samples per second; the device takes a listed rate within 5 % of it, or refuses."""
    if not positive(hz, MAX_RATE_HZ):
        raise CommandError(f"a rate of {hz} Hz; rates are above 0 and at most {MAX_RATE_HZ:g} Hz")
    return encode(SetRate(hz).pack())


def set_range(g: float) -> bytes:
    """Request a full scale of `g`; the device takes a listed range within 5 % of it, or refuses."""
    if not positive(g, MAX_RANGE_G):
        raise CommandError(f"a range of {g} g; ranges are above 0 and at most {MAX_RANGE_G:g} g")
    return encode(SetRange(g).pack())


def identify() -> bytes:
    return encode(Identify().pack())


def ping(token: int) -> bytes:
    """Request the device's clock; `token` (0 to 2^32 - 1) is returned with it."""
    if not 0 <= token <= MAX_TOKEN:
        raise CommandError(f"ping token {token}; tokens are 0 to {MAX_TOKEN}")
    return encode(Ping(token).pack())
