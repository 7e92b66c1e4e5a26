"""Looking at pictures: our steps around the models, beside MediaPipe's own Tasks with the same models and pictures.

Both run in the process without network, one after the other, on the squat (640 x 360) and on photographs of hands.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent.sections import Camera, Vision
from agent.sources.camera.opencv import VideoFile
from agent.sources.camera.source import CameraSource
from agent.sources.slot import Image, Slot
from agent.vision.eyes import Eyes, Seen
from agent.vision.measure import models_alone
from agent.vision.pose import Floats
from tests.agent.vision.looked import jitter, looked, pixels
from tests.agent.vision.pictures import photographs, pictures
from tests.bench.rows import Row

FRAMES, WARM = 300, 20
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
BACKENDS = ("litert", "mediapipe")


class Run(NamedTuple):
    """A back end on the same pictures: ms a picture, CPU ms a picture, MB held, and what it saw."""

    median_ms: float
    cpu_ms: float
    megabytes: float
    seen: list[Seen]


def rows(data_dir: Path) -> list[Row]:
    squat = list(pictures(data_dir / "motion" / "squat_side_360x640.mp4", count=FRAMES))
    found: list[Row] = []
    alone = {stage.name: stage.median_ms for stage in models_alone(2, 60)}
    for size in ("lite", "full"):
        ours, theirs = (run(squat, "pose", backend, size) for backend in BACKENDS)
        found += beside(f"pose {size}", ours, theirs)
        model = alone[f"pose {size}, the model"]
        found.append(Row(f"pose {size}: own steps beside the bare model", ours.median_ms, "ms", "the model", model))
        found += agreement(f"pose {size}", squat, ours, theirs)
    hands = [image for image in photographs(data_dir).values() for _ in range(25)]
    found += beside("hands full", *(run(hands, "hands", backend, "full") for backend in BACKENDS))
    found += asyncio.run(age(data_dir / "motion" / "squat_side_360x640.mp4"))
    return found


def run(images: list[Image], mode: str, backend: str, size: str) -> Run:
    used: list[float] = []
    seen = looked(images, mode, backend, after=lambda: used.append(_cpu_s()), model=size, threads=2)
    rss = _held(images, mode, backend, size)
    took = [one.took_ms for one in seen[WARM:]]
    return Run(float(np.median(took)), 1000 * used[0] / len(images), rss / 2**20, seen)


def beside(name: str, ours: Run, theirs: Run) -> list[Row]:
    return [
        Row(f"{name}: a picture, median", ours.median_ms, "ms", "mediapipe", theirs.median_ms),
        Row(f"{name}: processor time a picture, start included", ours.cpu_ms, "ms", "mediapipe", theirs.cpu_ms),
        Row(f"{name}: memory of the process", ours.megabytes, "MB", "mediapipe", theirs.megabytes),
    ]


def agreement(name: str, images: list[Image], ours: Run, theirs: Run) -> list[Row]:
    """Landmarks apart as a share of the body's height, and how restless they are."""
    apart, one, other = list[Floats](), list[Floats](), list[Floats]()
    for image, our, their in zip(images, ours.seen, theirs.seen, strict=True):
        if our.pose is not None and their.pose is not None:
            one.append(pixels(our.pose, image))
            other.append(pixels(their.pose, image))
            apart.append(np.linalg.norm(one[-1] - other[-1], axis=1) / np.ptp(other[-1][:, 1]))
    missed = sum(seen.pose is None for seen in ours.seen)
    return [
        Row(f"{name}: landmarks apart, median of the body's height", 100 * float(np.median(apart)), "%", "goal", 1.0),
        Row(f"{name}: jitter", jitter(one), "px", "mediapipe", jitter(other)),
        Row(f"{name}: pictures without a pose", float(missed), "of 300"),
    ]


async def age(video: Path) -> list[Row]:
    """From the camera to the landmarks, at 15 pictures a second."""
    settings, slot, ages = Camera(device=str(video)), Slot(), list[float]()
    eyes = Eyes(Vision(mode="pose", fps=15, model="lite"), slot, lambda seen: ages.append(seen.age_ms))
    looking = asyncio.create_task(eyes.run())
    await CameraSource(settings, lambda: VideoFile(settings, video), slot).run()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    return [Row("capture to landmarks at 15 a second, p95", float(np.percentile(ages[WARM:], 95)), "ms", "goal", 100.0)]


def _children() -> list[str]:
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in found if b"agent.vision.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _cpu_s() -> float:
    """Processor time of the process that looks, since it began."""
    fields = Path(f"/proc/{_children()[0]}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def _held(images: list[Image], mode: str, backend: str, size: str) -> int:
    """Memory the process holds after fifty pictures, private and not shared with others."""
    held: list[int] = []

    def look() -> None:
        lines = Path(f"/proc/{_children()[0]}/smaps_rollup").read_text().splitlines()
        held.append(sum(int(line.split()[1]) for line in lines if line.startswith("Rss:")) * 1024)

    looked(images[:50], mode, backend, after=look, model=size, threads=2)
    return held[0]
