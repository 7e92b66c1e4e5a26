"""Waiting for what must come: asked for again and again, until it is there or the one PATIENCE_S has passed.

No test asserts how fast a busy machine is; that is the benchmarks' to say.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 60.0
"""How long anything a test waits for may take: long, as a busy machine is no fault."""

What = str | Callable[[], object]
"""What is waited for, in words; where those tell how things stand, they are asked for when it did not come."""


def until(condition: Callable[[], Any], what: What = "", within_s: float = PATIENCE_S) -> Any:
    """What `condition` gave when first true. Raises AssertionError, saying `what`."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            _never(what, within_s)
        time.sleep(0.02)
    return found


async def comes(condition: Callable[[], Any], what: What = "", within_s: float = PATIENCE_S) -> Any:
    """What `condition`, which may have to be awaited, gave when first true; the event loop goes on meanwhile."""
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
