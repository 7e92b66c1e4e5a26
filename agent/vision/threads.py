"""How many threads a model is given, and where: the number that is quickest here, each on a processor of its own.

More threads must be clearly quicker: what they gain little time with, video and the heart's samples lose.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

MOST = 4
"""The models are small: beyond four threads they only wait for each other."""
ROUNDS = 3
WORTH = 0.8
"""The share of the time that twice the threads may take at most, to be worth them."""


def quickest(model: bytes) -> int:
    """Measures with 1, 2, 4 threads, as far as there are processors; some tens of ms for a small model."""
    chosen, best_s = 1, _median_s(model, 1)
    number = 2
    while number <= min(MOST, len(os.sched_getaffinity(0))):
        took_s = _median_s(model, number)
        if took_s < WORTH * best_s:
            chosen, best_s = number, took_s
        number *= 2
    return chosen


def running() -> set[int]:
    """This process's threads, as the kernel numbers them (proc(5))."""
    return {int(task.name) for task in Path("/proc/self/task").iterdir()}


def apart(made: set[int], processors: set[int]) -> None:
    """Gives the calling thread and those `made` for its models a processor each; without any made it may use all.

    Between two pictures a model's threads sleep. Woken together, they are often put on one processor and take turns
    there for the whole of a picture (sched(7): sched_setaffinity). Where that is not permitted nothing changes.
    """
    first, *others = sorted(processors, reverse=True)
    with suppress(OSError):
        if not made or not others:
            os.sched_setaffinity(0, processors)
            return
        os.sched_setaffinity(0, {first})
        for place, thread in enumerate(sorted(made)):
            os.sched_setaffinity(thread, {others[place % len(others)]})


def _median_s(model: bytes, threads: int) -> float:
    interpreter: Any = Interpreter(model_content=model, num_threads=threads)
    interpreter.allocate_tensors()
    interpreter.invoke()
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        interpreter.invoke()
        took.append(time.perf_counter() - began)
    return float(np.median(took))
