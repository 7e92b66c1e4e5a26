"""Waiting for conditions: each is checked repeatedly until it is true or the common deadline PATIENCE_S has passed.

No test asserts how fast a busy machine is; that is left to the benchmarks.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 60.0
"""Deadline for anything a test waits for: long, because a busy machine is not a failure."""

What = str | Callable[[], object]
"""What is waited for, in words, or a function that describes the state at the moment the wait failed."""


def until(condition: Callable[[], Any], what: What = "", within_s: float = PATIENCE_S) -> Any:
    """The first true value of `condition`. Raises AssertionError with `what` at the deadline."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            _never(what, within_s)
        time.sleep(0.02)
    return found


async def comes(condition: Callable[[], Any], what: What = "", within_s: float = PATIENCE_S) -> Any:
    """The first true value of `condition`, which may be a coroutine function; the event loop keeps running
    meanwhile.
    """
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        if found := await found if inspect.isawaitable(found) else found:
            return found
        if time.monotonic() > deadline:
            _never(what, within_s)
        await asyncio.sleep(0.01)


def _never(what: What, within_s: float) -> None:
    raise AssertionError(f"did not come within {within_s:g} s: {what() if callable(what) else what}")
