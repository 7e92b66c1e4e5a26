"""What the process that looks saw in a row of pictures, by either back end, and how to compare two of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from agent.sections import Vision
from agent.sources.slot import Frame, Image, Slot
from agent.vision.eyes import Eyes, Seen
from agent.vision.pose import Floats, Pose

STEP_NS = 33_333_333


def pixels(pose: Pose, image: Image) -> Floats:
    height, width = image.shape[:2]
    return pose.landmarks[:, :2] * np.array([width, height], np.float32)


def looked(
    images: list[Image], mode: str, backend: str = "mediapipe", after: Callable[[], None] = lambda: None, **more: object
) -> list[Seen]:
    """What a back end sees. MediaPipe's Tasks run nowhere but here: outside they report to their maker.

    `after` is called before the process ends.
    """
    slot, seen = Slot(), list[Seen]()

    async def look() -> None:
        vision = Vision(mode=mode, fps=60, backend=backend, **more)  # type: ignore[arg-type]
        eyes = Eyes(vision, slot, seen.append)
        running = asyncio.create_task(eyes.run())
        async with asyncio.timeout(100):
            for number, image in enumerate(images, 1):
                slot.put(Frame(image, number * STEP_NS, number))
                while len(seen) < number:
                    await asyncio.sleep(0.001)
                    assert not running.done(), running
        after()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(look())
    return seen


def jitter(points: list[Floats]) -> float:
    """How much movement changes from one picture to the next, in pixels."""
    return float(np.median(np.linalg.norm(np.diff(np.array(points), n=2, axis=0), axis=2)))
