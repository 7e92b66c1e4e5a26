"""Keeps a duty running: a failure is logged and the duty is restarted after a growing, jittered pause, forever.

Expected failures (AgentError: unplugged, unreachable) are logged in one line, once until the reason changes. Anything
else is a bug, and is logged with its traceback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog

from agent.errors import AgentError
from agent.process.backoff import Backoff

STEADY_AFTER_S = 10.0
CANCEL_AGAIN_S = 2.0

log = structlog.get_logger(__name__)


async def supervise(
    name: str,
    duty: Callable[[], Awaitable[None]],
    backoff: Backoff,
    *,
    troubled: Callable[[str], None] = lambda _: None,
    fatal: type[AgentError] | tuple[type[AgentError], ...] = (),
    progress: Callable[[], int] = lambda: 0,
) -> None:
    """Run `duty` until it returns by itself; `troubled` is called with the reason for each restart.

    A `fatal` error, which no further attempt can cure, is raised. If `progress` grew or the duty ran for
    STEADY_AFTER_S, the pause starts at its shortest again.
    """
    loop = asyncio.get_running_loop()
    told = None
    while True:
        began, done = loop.time(), progress()
        try:
            await duty()
        except fatal:
            raise
        except AgentError as trouble:
            text = str(trouble)
            if text != told:
                log.warning("duty_interrupted", duty=name, code=trouble.code, reason=text)
        except Exception as fault:
            text = f"{type(fault).__name__}: {fault}"
            log.exception("duty_failed", duty=name)
        else:
            return
        _heed_cancellation()
        if loop.time() - began > STEADY_AFTER_S or progress() > done:
            backoff.reset()
        told = text
        troubled(text)
        await asyncio.sleep(backoff.next())


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks, again every CANCEL_AGAIN_S, until all have ended."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
        if pending:
            log.warning("duties_cancelled_again", duties=sorted(task.get_name() for task in pending))


def _heed_cancellation() -> None:
    """A cancellation may be lost: before Python 3.13 a TaskGroup that fails while it is cancelled raises only the
    failure, and before 3.12 `wait_for` may return a result instead."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
