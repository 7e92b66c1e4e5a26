"""Decodes a client's frame: base64 JPEG in, pixels out. Limits are checked on the JPEG header, before decoding."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.errors import InvalidImage

MAX_PIXELS = 8_300_000
"""Most pixels of a frame: a 4K picture. A JPEG of a few kilobytes can claim a thousand times as many."""
LARGE_PIXELS = 1_300_000
"""Frames with at least this many pixels are decoded at half size, which makes no difference to the hand detector."""
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})

Pixels = NDArray[np.uint8]


def decode(text: str) -> Pixels:
    """The picture as uint8[h, w, 3], BGR. Raises InvalidImage saying what was wrong."""
    data = _jpeg(text)
    width, height = size(data)
    if width * height > MAX_PIXELS:
        raise InvalidImage(f"The picture has {width}×{height} pixels; send at most {MAX_PIXELS}, 640×480 is plenty.")
    import cv2  # the extra `vision` brings it; without it no detector runs and nobody comes here

    how = cv2.IMREAD_REDUCED_COLOR_2 if width * height > LARGE_PIXELS else cv2.IMREAD_COLOR
    found: Any = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    if found is None:
        raise InvalidImage("The picture's JPEG data is damaged.")
    return np.asarray(found, np.uint8)


def _jpeg(text: str) -> bytes:
    head, comma, rest = text[:64].partition(",")
    body = rest + text[64:] if comma and head.startswith("data:") else text
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidImage("The image is not base64.") from None


def size(data: bytes) -> tuple[int, int]:
    """Width and height from a JPEG's frame header (ITU-T T.81, B.2.2). Raises InvalidImage when there is none."""
    if data[:2] != b"\xff\xd8":
        raise InvalidImage("The image is not a JPEG.")
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 2 if marker in _BARE else 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise InvalidImage("The image has no JPEG frame header.")
