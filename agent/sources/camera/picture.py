"""A moving test picture without a camera: a grey ramp, a clock hand and a running number, for trying out a kit.

It contains no person, so person detection must find none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import cv2
import numpy as np

from agent.sections import Camera
from agent.sources.camera import Picture
from agent.sources.slot import Image

TURN_S = 4.0
GREY, LIGHT = 96, 208


class TestPicture:
    """Pictures of the configured size and rate; the hand turns once in TURN_S, by the clock that timestamps them."""

    __test__ = False
    kind = "test"
    name = "test picture"

    def __init__(
        self,
        settings: Camera,
        *,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings, self._now, self._sleep = settings, monotonic_ns, sleep
        self._background = _background(settings.width, settings.height)
        self._next_ns = 0
        self._count = 0

    def open(self) -> None:
        self._next_ns = self._now()

    def read(self) -> Picture | None:
        now = self._now()
        self._sleep(max(0.0, (self._next_ns - now) / 1e9))
        captured = max(self._next_ns, now)
        self._next_ns = captured + int(1e9 / self._settings.fps)
        self._count += 1
        return Picture(self._drawn(captured), captured)

    def close(self) -> None:
        """Nothing to release."""

    def _drawn(self, at_ns: int) -> Image:
        image = self._background.copy()
        height, width = image.shape[:2]
        angle = 2 * math.pi * ((at_ns / 1e9 / TURN_S) % 1)
        reach = 0.35 * min(width, height)
        centre = (width // 2, height // 2)
        tip = (round(centre[0] + reach * math.sin(angle)), round(centre[1] - reach * math.cos(angle)))
        cv2.line(image, centre, tip, (LIGHT, LIGHT, LIGHT), 3, cv2.LINE_AA)
        cv2.putText(image, str(self._count), (8, height - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (LIGHT,) * 3, 1)
        return image


def _background(width: int, height: int) -> Image:
    ramp = np.linspace(16, GREY, width, dtype=np.uint8)
    return np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (height, width, 3)))
