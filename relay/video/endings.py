"""Closing peers in the background: each closes in a task of its own, so that nobody waits for a dead connection."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Ending(Protocol):
    """A peer that has to be closed."""

    async def end(self) -> None: ...


class Endings:
    """Closings in progress; `all_done` waits for them when the relay stops."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def soon(self, peer: Ending) -> None:
        task = asyncio.ensure_future(peer.end())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def all_done(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)
