"""Measures how fast this machine analyses pictures: each model alone, and whole pictures from camera to landmarks.

The figures hold for this machine and this moment only.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from agent.errors import CameraUnusable
from agent.sources.slot import Image
from agent.vision.eyes import temperature
from agent.vision.hands import HandDetector
from agent.vision.looker import rss_bytes
from agent.vision.network import Network
from agent.vision.pose import MASK, Complexity, PoseDetector
from agent.vision.trimmed import without_output
from agent.vision.weights import Models

WARM = 5
STEP_NS = 33_333_333
LONGEST = 884
SIZES: tuple[Complexity, ...] = ("lite", "full", "heavy")


class Stage(NamedTuple):
    """Median and 95th percentile in ms over `rounds`."""

    name: str
    median_ms: float
    p95_ms: float
    rounds: int


class Machine(NamedTuple):
    """The machine measured, and its temperature and memory afterwards."""

    name: str
    python: str
    temperature_c: float | None
    rss_bytes: int


def machine() -> Machine:
    return Machine(_processor(), platform.python_version(), temperature(), rss_bytes())


def models_alone(threads: int, rounds: int) -> Iterator[Stage]:
    """Every model on noise, as the time does not depend on the content."""
    models, rng = Models(), np.random.default_rng(1)
    bodies = {f"pose {size}, the model": without_output(models.read(f"pose_landmark_{size}"), MASK) for size in SIZES}
    bodies |= {
        "finding a person, the model": models.read("pose_detection"),
        "finding a palm, the model": models.read("palm_detection_full"),
        "hand, the model": models.read("hand_landmark_full"),
    }
    for name, body in bodies.items():
        network = Network(body, threads)
        noise = rng.integers(0, 256, (network.size, network.size, 3), np.uint8)
        yield timed(name, partial(network.compute, noise), rounds)


def whole_pictures(video: Path, threads: int, rounds: int) -> Iterator[Stage]:
    """Whole pictures of a person in a video: colours, crop, model, refinement and smoothing, as on a kit."""
    images = pictures(video, rounds + WARM)
    rounds = len(images) - WARM
    for size in SIZES:
        detector = PoseDetector(size=size, threads=threads)
        yield timed(f"pose {size}, a picture all in all", _one_after_the_other(detector.detect, images), rounds)
    hands = HandDetector(threads=threads)
    yield timed("hands, a picture all in all", _one_after_the_other(hands.detect, images), rounds)


def _one_after_the_other(detect: Callable[[Image, int], object], images: list[Image]) -> Callable[[], object]:
    shown = enumerate(images)

    def look() -> object:
        number, image = next(shown)
        return detect(image, number * STEP_NS)

    return look


def timed(name: str, work: Callable[[], object], rounds: int) -> Stage:
    for _ in range(WARM):
        work()
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1000)
    return Stage(name, float(np.median(took)), float(np.percentile(took, 95)), rounds)


def pictures(video: Path, most: int) -> list[Image]:
    """The first pictures of a video, scaled to at most a camera's size. CameraUnusable when there are too few."""
    capture, found = cv2.VideoCapture(str(video)), list[Image]()
    while len(found) < most:
        there, image = capture.read()
        if not there:
            break
        share = min(1.0, LONGEST / max(image.shape[:2]))
        found.append(np.asarray(cv2.resize(image, None, fx=share, fy=share), np.uint8))
    capture.release()
    if len(found) <= WARM:
        raise CameraUnusable(f"{video} is no video that can be measured with")
    return found


def _processor() -> str:
    """The board's name if there is one (a Raspberry Pi's device tree), else the processor's."""
    for path, mark in ((Path("/proc/device-tree/model"), ""), (Path("/proc/cpuinfo"), "model name")):
        try:
            lines = path.read_text("utf-8", "replace").strip("\x00").splitlines()
        except OSError:
            continue
        named = [line.split(":", 1)[-1].strip() for line in lines if line.startswith(mark)]
        if named:
            return named[0]
    return platform.machine()
