"""Pose and hand detection: our processing around the models, compared with MediaPipe's own Tasks on the same models and
pictures. Both run in processes without network and take turns, a few dozen pictures each; the bare model is timed in
between with the same priority and pauses, so other load on the machine affects all three alike. Each of our threads has
a processor of its own; the bare model and MediaPipe run as they come. "Undisturbed" is the fastest tenth, when little
else ran. The pictures are a squat (640 x 360) and photographs of hands.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from agent.process.backoff import Backoff
from agent.process.supervisor import supervise
from agent.sections import Camera, Vision
from agent.sources.camera.opencv import VideoFile
from agent.sources.camera.source import CameraSource
from agent.sources.slot import Frame, Image, Slot
from agent.vision.app import RETRY_S
from agent.vision.eyes import Eyes, Seen
from agent.vision.pose import MASK, Floats
from agent.vision.trimmed import without_output
from agent.vision.weights import Models
from agent.vision.worker import LOWER_PRIORITY
from tests.agent.vision.looked import Looking, jitter, pixels, worker_pid
from tests.agent.vision.pictures import photographs, pictures
from tests.bench.rows import Row

FRAMES, BLOCK, WARM = 300, 25, 25
THREADS = 2
KILLED = 20
PAUSE_S = 0.01
"""About as long as the process that looks waits for its next picture at sixty a second."""
MOST_MEGABYTES = 250.0


class Run(NamedTuple):
    """A back end on the same pictures: ms of each picture, CPU ms a picture, MB held, and what it saw."""

    took_ms: list[float]
    cpu_ms: float
    megabytes: float
    seen: list[Seen]


class Runs(NamedTuple):
    """Ours with two threads, MediaPipe's, and ours as it comes: with threads as measured when it began."""

    ours: Run
    theirs: Run
    usual: Run


class Bare:
    """A model by itself, computing with the same number of threads and the same priority as the process that looks."""

    def __init__(self, model: bytes) -> None:
        self.took_ms: list[float] = []
        self._thread = ThreadPoolExecutor(1, initializer=_lower)
        self._interpreter: Any = self._thread.submit(self._make, model).result()

    async def compute(self) -> None:
        await asyncio.wrap_future(self._thread.submit(self._compute))

    def _make(self, model: bytes) -> Any:
        interpreter: Any = Interpreter(model_content=model, num_threads=THREADS)
        interpreter.allocate_tensors()
        return interpreter

    def _compute(self) -> None:
        for _ in range(BLOCK):
            time.sleep(PAUSE_S)
            began = time.perf_counter()
            self._interpreter.invoke()
            self.took_ms.append((time.perf_counter() - began) * 1000)


def _lower() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWER_PRIORITY)


def rows(data_dir: Path) -> list[Row]:
    squat, models = list(pictures(data_dir / "motion" / "squat_side_360x640.mp4", count=FRAMES)), Models()
    found: list[Row] = []
    for size in ("lite", "full"):
        bare = Bare(without_output(models.read(f"pose_landmark_{size}"), MASK))
        runs = asyncio.run(by_turns(squat, "pose", size, bare))
        found += beside(f"pose {size}", runs, bare) + agreement(f"pose {size}", squat, runs)
    shown = [image for image in photographs(data_dir).values() for _ in range(BLOCK)]
    bare = Bare(models.read("hand_landmark_full"))
    runs = asyncio.run(by_turns(shown, "hands", "full", bare))
    found += beside("hands full", runs, bare) + hands_agree(shown, runs)
    found += asyncio.run(age(data_dir / "motion" / "squat_side_360x640.mp4"))
    return [*found, asyncio.run(again(squat[0]))]


async def by_turns(images: list[Image], mode: str, size: str, bare: Bare) -> Runs:
    async with (
        Looking(mode, "litert", model=size, threads=THREADS) as ours,
        Looking(mode, "mediapipe", model=size) as theirs,
        Looking(mode, "litert", model=size, threads=0) as usual,
    ):
        used: dict[Looking, float] = {}
        for start in range(0, len(images), BLOCK):
            for side in (ours, theirs, usual):
                await side.show(images[start : start + BLOCK])
                used.setdefault(side, side.cpu_s)
            await bare.compute()
        return Runs(*(_run(side, used[side]) for side in (ours, theirs, usual)))


def _run(side: Looking, used_at_first: float) -> Run:
    took = [one.took_ms for one in side.seen[WARM:]]
    cpu_ms = 1000 * (side.cpu_s - used_at_first) / len(took)
    return Run(took, cpu_ms, side.rss_bytes / 2**20, side.seen)


def beside(name: str, runs: Runs, bare: Bare) -> list[Row]:
    (ours, theirs, usual), found = runs, []
    for kind, share in (("median", 50), ("undisturbed", 10)):
        one, other, alone = (float(np.percentile(took, share)) for took in (ours.took_ms, theirs.took_ms, bare.took_ms))
        found += [
            Row(f"{name}: a picture, {kind}", one, "ms", "mediapipe", other),
            Row(f"{name}: a picture, {kind}", one, "ms", "the bare model", alone),
        ]
    return [
        *found,
        Row(f"{name}: processor time a picture", ours.cpu_ms, "ms", "mediapipe", theirs.cpu_ms),
        Row(f"{name}: threads as measured: a picture, median", *_medians(usual, theirs)),
        Row(f"{name}: threads as measured: processor time a picture", usual.cpu_ms, "ms", "mediapipe", theirs.cpu_ms),
        Row(f"{name}: memory of the process", ours.megabytes, "MB", "mediapipe", theirs.megabytes),
        Row(f"{name}: memory of the process", ours.megabytes, "MB", "goal", MOST_MEGABYTES),
    ]


def _medians(one: Run, other: Run) -> tuple[float, str, str, float]:
    return float(np.median(one.took_ms)), "ms", "mediapipe", float(np.median(other.took_ms))


def agreement(name: str, images: list[Image], runs: Runs) -> list[Row]:
    """Landmarks apart as a share of the body's height, and how restless they are."""
    ours, theirs, _ = runs
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


def hands_agree(images: list[Image], runs: Runs) -> list[Row]:
    """Landmarks apart as a share of the palm, once each photograph's hand is followed."""
    ours, theirs, _ = runs
    apart = list[Floats]()
    last = slice(BLOCK - 1, None, BLOCK)
    for image, our, their in zip(images[last], ours.seen[last], theirs.seen[last], strict=True):
        for one, other in zip(our.hands, their.hands, strict=False):
            scale = np.array([image.shape[1], image.shape[0]])
            palm = np.linalg.norm((other.landmarks[9, :2] - other.landmarks[0, :2]) * scale)
            apart.append(np.linalg.norm((one.landmarks - other.landmarks)[:, :2] * scale, axis=1) / palm)
    median = 100 * float(np.median(apart))
    return [Row("hands full: landmarks apart, median of the palm", median, "%", "goal", 1.0)]


async def age(video: Path) -> list[Row]:
    """From the camera to the landmarks, at 15 pictures a second."""
    settings, slot, ages = Camera(device=str(video)), Slot(), list[float]()
    eyes = Eyes(Vision(mode="pose", fps=15, model="lite"), slot, lambda seen: ages.append(seen.age_ms))
    looking = asyncio.create_task(eyes.run())
    await CameraSource(settings, lambda: VideoFile(settings, video), slot).run()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    return [Row("capture to landmarks at 15 a second, p95", float(np.percentile(ages[WARM:], 95)), "ms", "goal", 100.0)]


async def again(image: Image) -> Row:
    """Killed, as when memory runs out, and kept as the agent keeps it: how long until a picture was looked at again."""
    slot, seen = Slot(), list[Seen]()
    eyes, took_s = Eyes(Vision(mode="pose", model="lite"), slot, seen.append), list[float]()
    keeping = supervise("vision", eyes.run, Backoff(*RETRY_S), progress=lambda: eyes.looked)
    looking = asyncio.create_task(keeping)
    for number in itertools.count(1):
        slot.put(Frame(image, time.monotonic_ns(), number))
        await asyncio.sleep(1 / 15)
        if not seen:
            continue
        took_s.append((seen[0].frame.captured_ns + seen[0].age_ms * 1e6) / 1e9)
        if len(took_s) > 2 * KILLED:
            break
        took_s.append(time.monotonic())
        os.kill(worker_pid("litert", "0"), signal.SIGKILL)
        seen.clear()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    worst_s = max(then - killed for killed, then in zip(took_s[1::2], took_s[2::2], strict=True))
    return Row(f"looks again after being killed, worst of {KILLED}", worst_s, "s", "goal", 2.0)
