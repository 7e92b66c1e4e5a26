"""Makes a picture anonymous: everything is blurred except the body, and the head is always blurred.

Where no body was found recently, more than one, or one that is upside down, everything is blurred. Blurring discards
detail (the picture is scaled down and up again), so a recipient cannot undo it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.sources.slot import Image

Points = NDArray[np.float32]
GRAIN = 24
"""Pixels of a 640-wide picture that are merged into one."""
HEAD = range(11)
"""BlazePose's landmarks of the face."""
TRUNK_AND_LIMBS = ((11, 13, 15, 19), (12, 14, 16, 20), (23, 25, 27, 31), (24, 26, 28, 32), (11, 12, 24, 23, 11))
KNEES = [25, 26]
SEEN_FROM = 0.3
BREADTH = 0.66
"""Shoulder width as a share of trunk length, used for bodies seen from the side, which are as thick, with heads as
large."""


def shown(landmarks: Points, people: int) -> bool:
    """Whether the body may be shown unblurred: not if another person's face may be in front of it, nor if it is upside
    down. A pose detected the wrong way round looks like that, with the feet where the face really is.
    """
    return people == 1 and bool(landmarks[0, 1] < landmarks[KNEES, 1].min())


def veiled(image: Image, landmarks: Points | None) -> Image:
    """The veiled picture. `landmarks` float32[33, >=3]: x, y as shares of the picture, visibility in the last column;
    or None.
    """
    height, width = image.shape[:2]
    grain = max(4, width * GRAIN // 640)
    small = cv2.resize(image, (max(1, width // grain), max(1, height // grain)), interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if landmarks is None or not np.isfinite(landmarks).all():
        return np.asarray(blurred, np.uint8)
    body = _body(landmarks, width, height)
    return np.where(body[:, :, None] > 0, image, blurred).astype(np.uint8)


def _body(landmarks: Points, width: int, height: int) -> NDArray[np.uint8]:
    """A mask of limbs and trunk as thick as the body, with the head cut out."""
    mask = np.zeros((height, width), np.uint8)
    at = (landmarks[:, :2] * (width, height)).astype(np.int32)
    seen = landmarks[:, -1] >= SEEN_FROM
    span = _breadth(at) if seen[11] and seen[12] else width / 6
    thick = max(6, int(span * 0.45))
    for chain in TRUNK_AND_LIMBS:
        _draw(mask, at, [point for point in chain if seen[point]], thick)
    trunk = at[[11, 12, 24, 23]]
    if seen[[11, 12, 24, 23]].all():
        cv2.fillConvexPoly(mask, trunk, 255)
    head = [at[point] for point in HEAD if seen[point]] or [at[0]]
    middle = np.mean(head, axis=0).astype(int)
    cv2.circle(mask, (int(middle[0]), int(middle[1])), max(10, int(span * 0.75)), 0, -1)
    return mask


def _breadth(at: NDArray[np.int32]) -> float:
    """Shoulder width in pixels, estimated from the trunk for a body seen from the side."""
    trunk = at[[11, 12]].mean(axis=0) - at[[23, 24]].mean(axis=0)
    return max(float(np.linalg.norm(at[11] - at[12])), BREADTH * float(np.linalg.norm(trunk)))


def _draw(mask: NDArray[np.uint8], at: NDArray[np.int32], chain: Sequence[int], thick: int) -> None:
    if len(chain) > 1:
        cv2.polylines(mask, [at[list(chain)]], isClosed=False, color=255, thickness=thick)
