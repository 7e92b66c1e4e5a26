"""Pictures the right way up: rotated and mirrored as configured, and limited in size."""

from __future__ import annotations

import cv2
import numpy as np

from agent.errors import CameraError
from agent.sections import Camera
from agent.sources.slot import Image

LONGEST_SIDE = 1920
"""Larger pictures are reduced here once, which bounds memory and the cost of every later step."""
SHORTEST_SIDE = 16
_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def upright(image: Image, settings: Camera) -> Image:
    """uint8[h, w, 3] from whatever a device delivers (grey, with transparency, huge).

    CameraError if it is not a picture.
    """
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    elif image.ndim == 3 and image.shape[2] == 4:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), np.uint8)
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < SHORTEST_SIDE:
        raise CameraError(f"a picture of shape {image.shape} is none that can be looked at")
    longest = max(image.shape[:2])
    if longest > LONGEST_SIDE:
        share = LONGEST_SIDE / longest
        size = (max(1, round(image.shape[1] * share)), max(1, round(image.shape[0] * share)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    if settings.rotation:
        image = np.asarray(cv2.rotate(image, _TURNS[settings.rotation]), np.uint8)
    if settings.mirror:
        image = np.asarray(cv2.flip(image, 1), np.uint8)
    return np.ascontiguousarray(image)
