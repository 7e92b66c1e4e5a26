"""Films made from photographs, for tests that read hands from a video or show them to a camera."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np


def film(path: Path, pictures: list[tuple[Any, float]], rate: int | Fraction = 15) -> Path:
    """An MP4 of pictures uint8[480, 640, 3], each shown for the given number of seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        stream.bit_rate = 4_000_000
        for pixels, seconds in pictures:
            for _ in range(int(seconds * rate)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode())
    return path


def fitted(path: Path) -> Any:
    """A photograph fitted into 640×480, its proportions kept."""
    photo = cv2.imread(str(path))
    scale = min(640 / photo.shape[1], 480 / photo.shape[0])
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.full((480, 640, 3), 128, np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    return canvas
