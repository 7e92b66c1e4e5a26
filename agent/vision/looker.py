"""Answers requests in the vision process, with the picture in shared memory; holds only the detector last requested."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from agent.vision import messages, threads
from agent.vision.messages import Look, Saw

PAGE = os.sysconf("SC_PAGE_SIZE")


class Detectors(Protocol):
    """How a back end creates its detectors, on demand."""

    def pose(self, size: str) -> Any: ...

    def hands(self, size: str) -> Any: ...


class LiteRt:
    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._processors = os.sched_getaffinity(0)

    def pose(self, size: Any) -> Any:
        from agent.vision.pose import PoseDetector

        return self._apart(lambda: PoseDetector(size=size, threads=self._threads))

    def hands(self, size: Any) -> Any:
        from agent.vision.hands import HandDetector

        return self._apart(lambda: HandDetector(size="lite" if size == "lite" else "full", threads=self._threads))

    def _apart(self, make: Callable[[], Any]) -> Any:
        threads.apart(set(), self._processors)
        before = threads.running()
        detector = make()
        threads.apart(threads.running() - before, self._processors)
        return detector


class Tasks:
    def pose(self, size: Any) -> Any:
        from agent.vision.tasks import TasksPoseDetector

        return TasksPoseDetector(size=size)

    def hands(self, size: Any) -> Any:
        from agent.vision.tasks import TasksHandDetector

        return TasksHandDetector(size="lite" if size == "lite" else "full")


class Looker:
    """Answers each `Look` with a `Saw`; holds only the detector of the mode and size last requested."""

    def __init__(self, detectors: Detectors, memory: mmap.mmap) -> None:
        self._detectors, self._memory = detectors, memory
        self._kept: tuple[str, str] | None = None
        self._detector: Any = None

    def look(self, look: Look) -> Saw:
        began = time.perf_counter()
        if self._kept != (look.mode, look.size):
            self._detector = None
            self._detector = (self._detectors.pose if look.mode == "pose" else self._detectors.hands)(look.size)
            self._kept = look.mode, look.size
            began = time.perf_counter()
        image = np.frombuffer(self._memory, np.uint8, look.height * look.width * 3)
        found = self._detector.detect(image.reshape(look.height, look.width, 3), look.captured_ns)
        saw = Saw(look.number, look.captured_ns, 0.0, rss_bytes())
        if look.mode == "hands":
            saw.hands = [messages.packed_hand(hand) for hand in found]
        elif found is not None:
            saw.body = messages.packed_pose(found)
        saw.took_ms = (time.perf_counter() - began) * 1000
        return saw


def rss_bytes() -> int:
    """Resident memory of this process in bytes, from /proc."""
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123  read with every picture, so without a Path
        return int(statm.read().split()[1]) * PAGE


def detectors_of(backend: str, threads: int) -> Detectors:
    return LiteRt(threads) if backend == "litert" else Tasks()
