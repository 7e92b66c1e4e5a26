"""A kit's camera for tests: the agent's own publisher, fed with test pictures."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Self

import numpy as np

from agent.privacy import LEVELS, Level
from agent.process.backoff import Backoff
from agent.process.supervisor import supervise
from agent.sources.slot import Frame, Slot
from agent.video.publisher import Target, VideoPublisher
from relay.video import sample
from tests.waiting import PATIENCE_S

RATE = 30


class Wish:
    """A privacy gate whose level the test sets."""

    def __init__(self, word: str) -> None:
        self.word = word

    @property
    def level(self) -> Level:
        return LEVELS[self.word]


class KitCamera:
    """`async with KitCamera(whip_url) as camera:` publishes until the block ends, reconnecting after every fault."""

    def __init__(
        self, url: str, *, token: str | None = None, level: str = "clear", poses: bool = False, **how: Any
    ) -> None:
        self.slot, self.gate = Slot(), Wish(level)
        self.publisher = VideoPublisher(self.slot, self.gate, Target(url, lambda: token, fps=RATE, **how))
        self.poses = poses
        self.problems: list[str] = []
        self._pictures = [
            np.ascontiguousarray(np.repeat(sample.picture(number)[:, :, None], 3, axis=2)) for number in range(60)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        backoff = Backoff(0.1, 1.0)
        publishing = supervise("video", self.publisher.run, backoff, troubled=self.problems.append)
        self._tasks = [asyncio.create_task(self._film()), asyncio.create_task(publishing)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def connected(self, within: float = PATIENCE_S) -> None:
        async with asyncio.timeout(within):
            while not self.publisher.connected:
                await asyncio.sleep(0.02)

    async def _film(self) -> None:
        number = 0
        while True:
            number += 1
            taken = time.monotonic_ns()
            self.slot.put(Frame(self._pictures[number % len(self._pictures)], taken, number))
            await asyncio.sleep(1 / RATE)
            if self.poses:
                counter = number % len(self._pictures)
                self.publisher.pose(taken, {"counter": counter, "landmarks": figure(counter)})


def figure(counter: int) -> list[dict[str, Any]]:
    """A standing figure that lifts an arm as the counter grows, as landmarks of the physiotherapy document."""
    lift = 0.25 * counter / 60
    points = {
        "LEFT_SHOULDER": (0.58, 0.35),
        "RIGHT_SHOULDER": (0.42, 0.35),
        "LEFT_ELBOW": (0.66, 0.5 - lift),
        "LEFT_WRIST": (0.7, 0.62 - 2 * lift),
        "RIGHT_ELBOW": (0.36, 0.5),
        "RIGHT_WRIST": (0.34, 0.62),
        "LEFT_HIP": (0.55, 0.62),
        "RIGHT_HIP": (0.45, 0.62),
        "LEFT_KNEE": (0.56, 0.78),
        "RIGHT_KNEE": (0.44, 0.78),
        "LEFT_ANKLE": (0.56, 0.93),
        "RIGHT_ANKLE": (0.44, 0.93),
    }
    return [{"type": name, "x": x, "y": y, "z": 0.0, "visibility": 0.9} for name, (x, y) in points.items()]
