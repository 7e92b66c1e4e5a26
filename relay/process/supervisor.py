"""Keeps duties running: a fault is logged with its traceback, and the duty starts again after a growing pause.

Work that is done for one of many is contained instead: its fault is told, and the others never notice.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog

FIRST_S, MOST_S = 0.2, 10.0
CANCEL_AGAIN_S = 2.0

log = structlog.get_logger(__name__)


async def supervise(name: str, duty: Callable[[], Awaitable[None]]) -> None:
    """Run `duty` for ever. Ends only by cancellation."""
    delay = FIRST_S
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await duty()
        except Exception:
            log.exception("duty_failed", duty=name, restart_s=round(delay, 1))
        heed_cancellation()
        if loop.time() - began > MOST_S:
            delay = FIRST_S
        await asyncio.sleep(delay * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret
        delay = min(delay * 2, MOST_S)


def heed_cancellation() -> None:
    """Raise CancelledError if the running task was told to end but the cancellation has been lost.

    Before Python 3.13 a TaskGroup that fails while it is cancelled raises only the failure, and before 3.12 `wait_for`
    may return a result instead. A loop that goes on after either must ask here.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks, again every CANCEL_AGAIN_S, until all have ended."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
        if pending:
            log.warning("duties_cancelled_again", duties=sorted(task.get_name() for task in pending))


async def contain(name: str, work: Awaitable[None]) -> bool:
    """Await one piece of work; whether it ended well."""
    try:
        await work
    except Exception:
        log.exception("work_failed", work=name)
        return False
    return True
