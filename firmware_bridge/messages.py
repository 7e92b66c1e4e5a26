"""The messages of a device in our serial frames, byte for byte as in `docs/serial-frame.md`.

`parse_message(payload).pack() == payload` for every payload that parses; any other raises FrameError with the reason.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import Damage, FrameError
from firmware_bridge.framing import MAX_PAYLOAD
from firmware_bridge.protocol import (
    MAX_RANGE_G,
    MAX_RATE_HZ,
    MAX_US,
    VERSION,
    Kind,
    fields,
    kind_of,
    positive,
)

Raw = NDArray[np.signedinteger]
_DTYPES: dict[int, np.dtype[np.signedinteger]] = {0: np.dtype("<i2"), 1: np.dtype("<i4")}


class SamplesMessage(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Samples of one setting: `raw` [n, 3], int16 or int32, with full scale `range_g`.

    `seq` numbers the first sample since power-on, mod 2^32; `first_us` is its time on the device's clock; `period_ns`
    is the distance between samples; `boot` identifies the power-on.
    """

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<BBBBIQIIff")

    boot: int
    first_us: int
    seq: int
    period_ns: int
    rate_hz: float
    range_g: float
    raw: Raw

    @classmethod
    def parse(cls, payload: bytes) -> SamplesMessage:
        """FrameError where length, format, period, rate or range is impossible."""
        if len(payload) < cls.LAYOUT.size:
            raise FrameError(Damage.LENGTH, f"samples in {len(payload)} bytes")
        _, _, form, count, boot, first_us, seq, period_ns, rate_hz, range_g = cls.LAYOUT.unpack_from(payload)
        dtype = _DTYPES.get(form)
        if dtype is None:
            raise FrameError(Damage.VALUE, f"sample format {form}")
        if not count or len(payload) != cls.LAYOUT.size + count * 3 * dtype.itemsize:
            raise FrameError(Damage.LENGTH, f"{count} samples of format {form} in {len(payload)} bytes")
        if not period_ns or first_us >= MAX_US:
            raise FrameError(Damage.VALUE, f"period {period_ns} ns, time {first_us} us")
        if not (positive(rate_hz, MAX_RATE_HZ) and positive(range_g, MAX_RANGE_G)):
            raise FrameError(Damage.VALUE, f"rate {rate_hz} Hz, range {range_g} g")
        raw = np.frombuffer(payload, dtype, offset=cls.LAYOUT.size).reshape(-1, 3)
        return cls(boot, first_us, seq, period_ns, rate_hz, range_g, raw)

    def pack(self) -> bytes:
        """The payload of a frame, version and kind included."""
        form = int(self.raw.dtype.itemsize == 4)
        times = (self.boot, self.first_us, self.seq, self.period_ns)
        head = (VERSION, Kind.SAMPLES, form, len(self.raw), *times, self.rate_hz, self.range_g)
        return self.LAYOUT.pack(*head) + self.raw.astype(_DTYPES[form], copy=False).tobytes()


class IdentityMessage(msgspec.Struct, frozen=True):
    """The device, and the rates and ranges it can be set to. Each text has at most 255 bytes of UTF-8."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<BBBB")

    name: str
    firmware: str
    sensor: str
    rates_hz: tuple[float, ...]
    ranges_g: tuple[float, ...]

    @classmethod
    def parse(cls, payload: bytes) -> IdentityMessage:
        """FrameError where a length, rate or range is impossible, or a text is not UTF-8."""
        if len(payload) < cls.LAYOUT.size:
            raise FrameError(Damage.LENGTH, f"identity in {len(payload)} bytes")
        _, _, rates, ranges = cls.LAYOUT.unpack_from(payload)
        texts = cls.LAYOUT.size + 4 * (rates + ranges)
        if len(payload) < texts:
            raise FrameError(Damage.LENGTH, f"{rates} rates and {ranges} ranges in {len(payload)} bytes")
        values = struct.unpack_from(f"<{rates + ranges}f", payload, cls.LAYOUT.size)
        rates_hz, ranges_g = values[:rates], values[rates:]
        if not all(positive(hz, MAX_RATE_HZ) for hz in rates_hz) or not all(positive(g, MAX_RANGE_G) for g in ranges_g):
            raise FrameError(Damage.VALUE, f"rates {rates_hz} Hz, ranges {ranges_g} g")
        name, firmware, sensor = _parse_texts(payload[texts:], 3)
        return cls(name, firmware, sensor, rates_hz, ranges_g)

    def pack(self) -> bytes:
        """The payload of a frame, version and kind included."""
        head = self.LAYOUT.pack(VERSION, Kind.IDENTITY, len(self.rates_hz), len(self.ranges_g))
        values = self.rates_hz + self.ranges_g
        texts = (text.encode() for text in (self.name, self.firmware, self.sensor))
        return head + struct.pack(f"<{len(values)}f", *values) + b"".join(bytes([len(text)]) + text for text in texts)


class PongMessage(msgspec.Struct, frozen=True):
    """The token of a ping, and the device's clock when the ping's last byte arrived and when this answer's first byte
    leaves.
    """

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<BBIQQ")

    token: int
    received_us: int
    sent_us: int

    @classmethod
    def parse(cls, payload: bytes) -> PongMessage:
        """FrameError where the answer would have left before the ping arrived."""
        token, received_us, sent_us = fields(cls.LAYOUT, payload)
        if not received_us <= sent_us < MAX_US:
            raise FrameError(Damage.VALUE, f"received at {received_us} us, answered at {sent_us} us")
        return cls(token, received_us, sent_us)

    def pack(self) -> bytes:
        return self.LAYOUT.pack(VERSION, Kind.PONG, self.token, self.received_us, self.sent_us)


class ReplyMessage(msgspec.Struct, frozen=True):
    """`command`: the kind requested; `code`: a ReplyCode, or one of a later firmware;

    `value`: what is now in effect.
    """

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<BBBBf")

    command: int
    code: int
    value: float

    @classmethod
    def parse(cls, payload: bytes) -> ReplyMessage:
        """FrameError where the value is no number."""
        command, code, value = fields(cls.LAYOUT, payload)
        if not math.isfinite(value):
            raise FrameError(Damage.VALUE, f"value {value}")
        return cls(command, code, value)

    def pack(self) -> bytes:
        return self.LAYOUT.pack(VERSION, Kind.REPLY, self.command, self.code, self.value)


Message = SamplesMessage | IdentityMessage | PongMessage | ReplyMessage
_PARSERS: dict[int, Callable[[bytes], Message]] = {
    Kind.SAMPLES: SamplesMessage.parse,
    Kind.IDENTITY: IdentityMessage.parse,
    Kind.PONG: PongMessage.parse,
    Kind.REPLY: ReplyMessage.parse,
}


def parse_message(payload: bytes) -> Message:
    """A device's message; FrameError says why a payload is none."""
    parser = _PARSERS.get(kind_of(payload))
    if parser is None:
        raise FrameError(Damage.KIND, f"kind 0x{payload[1]:02x} from a device")
    return parser(payload)


def max_samples(*, wide: bool) -> int:
    """The most samples that fit into one frame: 165 of int16, 82 of int32."""
    return (MAX_PAYLOAD - SamplesMessage.LAYOUT.size) // (3 * _DTYPES[int(wide)].itemsize)


def _parse_texts(data: bytes, count: int) -> list[str]:
    texts = []
    for _ in range(count):
        end = 1 + (data[0] if data else 0)
        if len(data) < end:
            raise FrameError(Damage.LENGTH, "a text is cut short")
        texts.append(data[1:end])
        data = data[end:]
    if data:
        raise FrameError(Damage.LENGTH, f"{len(data)} bytes after the last text")
    try:
        return [text.decode() for text in texts]
    except UnicodeDecodeError:
        raise FrameError(Damage.VALUE, "a text is not UTF-8") from None
