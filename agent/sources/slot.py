"""A slot one frame deep between a camera and its readers: the newest frame wins, and nobody waits for anybody.

A frame replaced before anyone took it counts as dropped. Frames are shared and must not be changed.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class Frame(NamedTuple):
    """`image` uint8[height, width, 3], blue-green-red; `captured_ns` on the host's monotonic clock.

    `number` counts from 1 and never repeats within a run of the agent.
    """

    image: Image
    captured_ns: int
    number: int


class Slot:
    """`put` from any thread; `newest` from any event loop, each reader with its own `after`."""

    def __init__(self) -> None:
        self.dropped = 0
        self._frame: Frame | None = None
        self._taken = True
        self._lock = threading.Lock()
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def latest(self) -> Frame | None:
        """The current frame, without counting it as taken."""
        return self._frame

    def put(self, frame: Frame) -> None:
        with self._lock:
            self.dropped += not self._taken
            self._frame, self._taken = frame, False
            waiting, self._waiting = self._waiting, []
        for future in waiting:
            with suppress(RuntimeError):  # that loop is closed: nobody is left to hear it
                future.get_loop().call_soon_threadsafe(_settle, future)

    async def newest(self, after: int = 0) -> Frame:
        """The newest frame with a number above `after`; waits until there is one."""
        while True:
            with self._lock:
                if self._frame is not None and self._frame.number > after:
                    self._taken = True
                    return self._frame
                future = asyncio.get_running_loop().create_future()
                self._waiting.append(future)
            try:
                await future
            finally:
                self._forget(future)

    def _forget(self, future: asyncio.Future[None]) -> None:
        with self._lock, suppress(ValueError):
            self._waiting.remove(future)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
