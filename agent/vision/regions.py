"""Rotated regions of a picture: cut out for a model, and mapped back.

All in pixels of the picture; angles in radians, clockwise as seen. MediaPipe's convention: corner (0, 0) of a crop is
the region's corner, without half-pixel shifts.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.sources.slot import Image

Points = NDArray[np.float32]
TURN = 2 * math.pi


class Region(NamedTuple):
    """A rectangle centred on (x, y), rotated by `angle`."""

    x: float
    y: float
    width: float
    height: float
    angle: float

    def grown(self, scale: float, *, shift_up: float = 0.0) -> Region:
        """A square of `scale` times the longer side, moved up along its own axis by a share of its height."""
        x = self.x + self.height * shift_up * math.sin(self.angle)
        y = self.y - self.height * shift_up * math.cos(self.angle)
        side = max(self.width, self.height) * scale
        return Region(x, y, side, side, self.angle)

    def to_picture(self, share: Points) -> Points:
        """Points given as shares (0..1) of this region, in pixels of the picture. Shape (…, 2)."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        turn = np.array([[self.width * cos, self.width * sin], [-self.height * sin, self.height * cos]], np.float32)
        return np.asarray((share - np.float32(0.5)) @ turn + np.array([self.x, self.y]), np.float32)

    def turned(self, vectors: Points) -> Points:
        """Vectors along this region's axes, expressed along the picture's. Shape (…, 2)."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return np.asarray(vectors @ np.array([[cos, sin], [-sin, cos]]), np.float32)

    def overlap(self, other: Region) -> float:
        """Intersection over union of both, ignoring their rotation."""
        wide = min(self.x + self.width / 2, other.x + other.width / 2) - max(
            self.x - self.width / 2, other.x - other.width / 2
        )
        high = min(self.y + self.height / 2, other.y + other.height / 2) - max(
            self.y - self.height / 2, other.y - other.height / 2
        )
        both = max(0.0, wide) * max(0.0, high)
        whole = self.width * self.height + other.width * other.height - both
        return both / whole if whole > 0 else 0.0


def crop(image: Image, region: Region, size: int, out: Image, *, border: int = cv2.BORDER_REPLICATE) -> Image:
    """The region as a picture of `size` by `size`, rotated upright and scaled in one pass, written into `out`."""
    cos, sin = math.cos(region.angle), math.sin(region.angle)
    across, down = region.width / size, region.height / size
    left = region.x - (region.width * cos - region.height * sin) / 2
    top = region.y - (region.width * sin + region.height * cos) / 2
    matrix = np.array([[across * cos, -down * sin, left], [across * sin, down * cos, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(image, matrix, (size, size), dst=out, flags=flags, borderMode=border)
    return out


def whole(image: Image) -> Region:
    """The smallest square around the whole picture, for letterboxing."""
    height, width = image.shape[:2]
    side = float(max(width, height))
    return Region(width / 2, height / 2, side, side, 0.0)


def direction(start: Points, end: Points) -> float:
    """The rotation of a region in which `end` lies straight above `start`, within ±pi."""
    angle = math.pi / 2 - math.atan2(float(start[1] - end[1]), float(end[0] - start[0]))
    return angle - TURN * math.floor((angle + math.pi) / TURN)
