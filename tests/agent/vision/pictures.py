"""Pictures that tests look at: photographs and videos of people, and what no camera should ever give."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.sources.slot import Image
from tests.peers import REPO_ROOT

WALKING = REPO_ROOT / "provisioning" / "media" / "walking.mp4"


def photographs(data: Path) -> dict[str, Image]:
    """The hands, by file name."""
    return {path.name: _read(path) for path in sorted((data / "hands").glob("*.jpg"))}


def _read(path: Path) -> Image:
    image = cv2.imread(str(path))
    assert image is not None, path
    return np.asarray(image, np.uint8)


def pictures(path: Path, *, first: int = 0, count: int | None = None, longest: int | None = None) -> Iterator[Image]:
    """The pictures of a video, optionally made smaller."""
    capture = cv2.VideoCapture(str(path))
    number = 0
    while count is None or number < first + count:
        there, image = capture.read()
        if not there:
            break
        number += 1
        if number > first:
            share = 1.0 if longest is None else min(1.0, longest / max(image.shape[:2]))
            small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA) if share < 1 else image
            yield np.asarray(small, np.uint8)
    capture.release()


def walking() -> Path:
    """The video of a woman walking, which `make install` fetches."""
    if not WALKING.is_file():
        pytest.skip("the demonstration's video is not there: make install fetches it")
    return WALKING


@cache
def odd_pictures() -> dict[str, Image]:
    """Nothing in any of these is a person."""
    noise = np.random.default_rng(5).integers(0, 256, (480, 640, 3), np.uint8)
    return {
        "black": np.zeros((480, 640, 3), np.uint8),
        "white": np.full((480, 640, 3), 255, np.uint8),
        "noise": noise,
        "tiny": noise[:16, :16].copy(),
        "odd": noise[:333, :17].copy(),
        "wide": noise[:20].copy(),
        "huge": cv2.resize(noise, (3840, 2160), interpolation=cv2.INTER_NEAREST).astype(np.uint8),
        "not contiguous": noise[::2, ::-1],
    }
