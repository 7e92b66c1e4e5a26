"""How many threads a model gets, and on which processors: the fastest number here, each thread on a processor of its
own.

More threads must be clearly faster, because they take processor time from video and the heart's samples.
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
"""The models are small: with more than four threads they only wait for each other."""
ROUNDS = 3
WORTH = 0.8
"""The greatest share of the time that doubling the threads may take to be worthwhile."""


def quickest(model: bytes) -> int:
    """Measure with 1, 2 and 4 threads, as far as there are processors; takes tens of ms for a small model."""
    chosen, best_s = 1, _median_s(model, 1)
    number = 2
    while number <= min(MOST, len(os.sched_getaffinity(0))):
        took_s = _median_s(model, number)
        if took_s < WORTH * best_s:
            chosen, best_s = number, took_s
        number *= 2
    return chosen


def running() -> set[int]:
    """The ids of this process's threads (proc(5))."""
    return {int(task.name) for task in Path("/proc/self/task").iterdir()}


def apart(made: set[int], processors: set[int]) -> None:
    """Pin the calling thread, and the threads `made` for its models, to a processor each; with none made, unpin it.

    A model's threads sleep between pictures. When woken together they are often put on one processor and take turns
    there for the whole picture (sched(7): sched_setaffinity). Where pinning is not permitted, nothing changes.
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
