"""What the process that looks saw in a row of pictures, by either back end, and how to compare two of them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Self

import numpy as np

from agent.sections import Vision
from agent.sources.slot import Frame, Image, Slot
from agent.vision.eyes import Eyes, Seen
from agent.vision.pose import Floats, Pose

STEP_NS = 33_333_333
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PATIENCE_S = 100


class Looking:
    """A back end in its own process, which looks at one picture after the other while the context lasts."""

    def __init__(self, mode: str, backend: str, **more: object) -> None:
        self.seen: list[Seen] = []
        vision = Vision(mode=mode, fps=60, backend=backend, **more)  # type: ignore[arg-type]
        self._called, self._slot = (backend, str(vision.threads)), Slot()
        self._eyes = Eyes(vision, self._slot, self.seen.append)

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._eyes.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def show(self, images: list[Image]) -> None:
        """Until each has been looked at. The process is there from the first on."""
        async with asyncio.timeout(PATIENCE_S):
            for number, image in enumerate(images, len(self.seen) + 1):
                self._slot.put(Frame(image, number * STEP_NS, number))
                while len(self.seen) < number:
                    await asyncio.sleep(0.001)
                    assert not self._running.done(), self._running

    @property
    def cpu_s(self) -> float:
        """Processor time of the process, since it began."""
        fields = Path(f"/proc/{worker_pid(*self._called)}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S

    @property
    def rss_bytes(self) -> int:
        lines = Path(f"/proc/{worker_pid(*self._called)}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Rss:")) * 1024


def worker_pid(backend: str, threads: str) -> int:
    """Of this process's child that looks so; LookupError while there is none."""
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if "agent.vision.worker" in words and words[-3:-1] == [backend, threads]:
            return int(pid)
    raise LookupError(f"no process looks with {backend} and {threads} threads")


def pixels(pose: Pose, image: Image) -> Floats:
    height, width = image.shape[:2]
    return pose.landmarks[:, :2] * np.array([width, height], np.float32)


def looked(images: list[Image], mode: str, backend: str = "mediapipe", **more: object) -> list[Seen]:
    """What a back end sees. MediaPipe's Tasks run nowhere but here: outside they report to their maker."""

    async def look() -> list[Seen]:
        async with Looking(mode, backend, **more) as looking:
            await looking.show(images)
            return looking.seen

    return asyncio.run(look())


def jitter(points: list[Floats]) -> float:
    """How much movement changes from one picture to the next, in pixels."""
    return float(np.median(np.linalg.norm(np.diff(np.array(points), n=2, axis=0), axis=2)))
