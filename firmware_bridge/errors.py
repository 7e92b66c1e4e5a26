"""What can go wrong between a sensor's bytes and their meaning.

BridgeError
├── FrameError         bytes that are no valid message; `damage` says why
├── CommandError       a command whose value is out of bounds, or not supported by the sensor
├── ImageError         a file that is no firmware image, or a damaged one
└── SimulationError    a simulated sensor, signal or fault with impossible parameters
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Self


class Damage(StrEnum):
    """Why bytes between two delimiters are no message; `sentence` is for people."""

    sentence: str

    def __new__(cls, value: str, sentence: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member

    TOO_LONG = "too_long", "More bytes without a delimiter than any frame has: not our protocol, or delimiters lost."
    NOT_COBS = "not_cobs", "The byte stuffing does not come out even: bytes were lost or changed on the line."
    CHECKSUM = "checksum", "The CRC-32 does not match: bytes were changed on the line."
    VERSION = "version", "A whole frame of a protocol version this program does not speak: update one of the two."
    KIND = "kind", "A whole frame of a kind this program does not know: the firmware is newer, or at fault."
    LENGTH = "length", "A whole frame whose length does not fit what it says it holds: the firmware is at fault."
    VALUE = "value", "A whole frame with a field out of its bounds: the firmware is at fault."


class BridgeError(Exception):
    """`code` is for programs; the text says what was wrong and where."""

    code: ClassVar[str] = "BRIDGE"


class FrameError(BridgeError):
    """Bytes that are no valid frame; `damage` says why."""

    code = "DAMAGED_FRAME"

    def __init__(self, damage: Damage, detail: str = "") -> None:
        super().__init__(f"{damage.sentence} ({detail})" if detail else damage.sentence)
        self.damage = damage


class CommandError(BridgeError):
    """A value that no frame can carry, or that this sensor does not support."""

    code = "BAD_COMMAND"


class ImageError(BridgeError):
    """A file that is no firmware image, or a damaged one."""

    code = "BAD_IMAGE"


class SimulationError(BridgeError):
    """Parameters that no simulated sensor, signal or fault can have."""

    code = "BAD_SIMULATION"
