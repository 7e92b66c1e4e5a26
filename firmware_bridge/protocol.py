"""What both directions of our serial protocol share: version, kinds, bounds, and the head of every payload.

`docs/serial-frame.md` describes the same: change both or neither, and the version when a field moves.
"""

from __future__ import annotations

import math
import struct
from enum import IntEnum
from typing import Any

from firmware_bridge.errors import Damage, FrameError

VERSION = 1
MAX_RATE_HZ = 100_000.0
MAX_RANGE_G = 10_000.0
MAX_US = 1 << 62
"""Bound of device times, so that every sample's time fits an int64."""

HEAD = struct.Struct("<BB")


class Kind(IntEnum):
    """The second byte of every payload. Commands of the host have bit 7 set."""

    SAMPLES = 0x01
    IDENTITY = 0x02
    PONG = 0x03
    REPLY = 0x04
    SET_RATE = 0x81
    SET_RANGE = 0x82
    IDENTIFY = 0x83
    PING = 0x84


class ReplyCode(IntEnum):
    """The result of a command; later firmware may have more codes."""

    OK = 0
    UNKNOWN_COMMAND = 1
    UNSUPPORTED_VALUE = 2
    SENSOR_FAULT = 3


def kind_of(payload: bytes) -> int:
    """The kind of a payload of our version, known or not; FrameError for anything else."""
    if len(payload) < HEAD.size:
        raise FrameError(Damage.LENGTH, f"{len(payload)} bytes are no payload")
    if payload[0] != VERSION:
        raise FrameError(Damage.VERSION, f"version {payload[0]}; this program speaks {VERSION}")
    return payload[1]


def fields(layout: struct.Struct, payload: bytes) -> tuple[Any, ...]:
    """The fields after the head, for a payload of fixed length."""
    if len(payload) != layout.size:
        raise FrameError(Damage.LENGTH, f"kind 0x{payload[1]:02x} has {layout.size} bytes, not {len(payload)}")
    return layout.unpack(payload)[2:]


def positive(value: float, most: float) -> bool:
    return math.isfinite(value) and 0 < value <= most
