"""MicroPython. The serial frame of docs/serial-frame.md: byte stuffing, checksum, and the payloads that a board sends.

Nothing here depends on a pin or port: it is the same on every board, and is run by the project's tests.
"""

import binascii
import struct

VERSION = 1
SAMPLES, IDENTITY, PONG, REPLY = 0x01, 0x02, 0x03, 0x04
SET_RATE, SET_RANGE, IDENTIFY, PING = 0x81, 0x82, 0x83, 0x84
DONE, UNKNOWN_COMMAND, UNSUPPORTED_VALUE, SENSOR_FAULT = 0, 1, 2, 3
LONGEST = 64
"""Bytes kept of a command between two zeros, with room to spare; anything longer is noise."""


def encode(payload):
    """The frame for a payload: zero, COBS(payload, CRC-32), zero."""
    out = bytearray(1)
    for part in (payload + struct.pack("<I", binascii.crc32(payload))).split(b"\0"):
        while len(part) >= 254:
            out.append(255)
            out.extend(part[:254])
            part = part[254:]
        out.append(len(part) + 1)
        out.extend(part)
    out.append(0)
    return out


def decode(stuffed):
    """The payload of the bytes between two zeros, or None when damaged."""
    whole, at = bytearray(), 0
    while at < len(stuffed):
        length = stuffed[at]
        if at + length > len(stuffed):
            return None
        whole.extend(stuffed[at + 1 : at + length])
        at += length
        if length < 255 and at < len(stuffed):
            whole.append(0)
    if len(whole) < 6:
        return None
    payload = bytes(whole[:-4])
    (crc,) = struct.unpack("<I", whole[-4:])
    return payload if binascii.crc32(payload) == crc else None


class Splitter:
    """Takes bytes however split; returns whole payloads."""

    def __init__(self):
        self._rest = bytearray()

    def feed(self, data):
        found = []
        for byte in data:
            if byte:
                if len(self._rest) <= LONGEST:
                    self._rest.append(byte)
                continue
            if self._rest and len(self._rest) <= LONGEST:
                payload = decode(self._rest)
                if payload is not None:
                    found.append(payload)
            self._rest = bytearray()
        return found


def samples(boot, first_us, number, period_ns, rate_hz, range_g, wide, values):
    """`values`: (x, y, z) tuples, int16, or when `wide` int32 with the sensor's bits at the top."""
    head = struct.pack(
        "<BBBBIQIIff",
        VERSION,
        SAMPLES,
        1 if wide else 0,
        len(values),
        boot,
        first_us,
        number & 0xFFFFFFFF,
        period_ns,
        rate_hz,
        range_g,
    )
    form = "<3i" if wide else "<3h"
    return head + b"".join([struct.pack(form, *one) for one in values])


def identity(name, firmware, sensor, rates_hz, ranges_g):
    out = struct.pack("<BBBB", VERSION, IDENTITY, len(rates_hz), len(ranges_g))
    for value in tuple(rates_hz) + tuple(ranges_g):
        out += struct.pack("<f", value)
    for text in (name, firmware, sensor):
        data = text.encode()
        out += bytes([len(data)]) + data
    return out


def reply(kind, code, value):
    return struct.pack("<BBBBf", VERSION, REPLY, kind, code, value)


def pong(token, received_us, sent_us):
    return struct.pack("<BBIQQ", VERSION, PONG, token, received_us, sent_us)
