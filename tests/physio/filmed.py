"""A patient's video as the kit makes frames of it: its own eyes and its own exercise, without the wait."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from agent.exercise import Exercise
from agent.vision.pose import PoseDetector
from agent.wall_clock import WallClock
from tests.agent.vision.pictures import pictures
from tests.contract.care import BEGAN

EVERY, STEP_NS = 2, 66_666_667
"""Every second picture of 30 a second, as a Raspberry Pi looks."""


class _Outbox:
    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []

    def put(self, _kind: str, payload: Any, _session: str, _now_ms: int, *, kept: bool = False) -> None:
        self.frames += json.loads(msgspec.json.encode(payload))["frames"]


def frames_of(video: Path, exercise: str) -> list[dict[str, Any]]:
    """Documented frames with landmarks, angles and what the kit itself found."""
    with ThreadPoolExecutor(1) as beside:  # whoever drives a browser has a loop running in this thread
        return beside.submit(lambda: asyncio.run(_seen(video, exercise))).result()


async def _seen(video: Path, name: str) -> list[dict[str, Any]]:
    outbox, eyes = _Outbox(), PoseDetector(size="lite")
    exercise = Exercise(outbox, WallClock(0, BEGAN * 1_000_000), now_ms=lambda: BEGAN)  # type: ignore[arg-type]
    exercise.begin("7f0e1b9c-0000-4000-8000-000000000001", name)
    for number, image in enumerate(pictures(video)):
        if number % EVERY == 0:
            at_ns = number // EVERY * STEP_NS
            exercise.take(eyes.detect(image, at_ns), at_ns, {})
    exercise.end()
    return outbox.frames
