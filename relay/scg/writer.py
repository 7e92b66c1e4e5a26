"""The one queue between the sessions and the database. An acknowledgement always follows the commit.

All that arrives between two commits goes into one transaction, so the disk is waited for once, however many sessions.
A full writer makes its senders wait; it drops nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

from relay.commits import answered
from relay.errors import StoreUnavailable
from relay.process.metrics import Metrics
from relay.scg.entries import Entry

RETRY_FIRST_S, RETRY_MOST_S = 0.1, 5.0

Keep = Callable[[list[Entry]], Awaitable[list[Entry]]]
log = structlog.get_logger(__name__)


class Writer:
    """Nothing is committed unless `run` is running.

    `keep` commits a batch and returns the entries stored; if it raises StoreUnavailable, it gets the batch again later.
    """

    def __init__(self, keep: Keep, metrics: Metrics, *, max_samples: int, commit_every_s: float) -> None:
        self._keep = keep
        self._metrics = metrics
        self._max_samples = max_samples
        self._commit_every_s = commit_every_s
        self._pending: list[Entry] = []
        self._weight = 0
        self._work = asyncio.Event()
        self._urgent = asyncio.Event()
        self._space = asyncio.Event()
        self._space.set()
        self._submitted = self._committed = 0
        self._waiting_of: Counter[str] = Counter()
        self._drains: list[tuple[int, asyncio.Future[None]]] = []
        self._waiting: list[Callable[[], None]] = []

    @property
    def full(self) -> bool:
        return not self._space.is_set()

    def submit(self, entry: Entry) -> None:
        """Hand over a message for the next commit. Check `full` first and make the sender wait; this never refuses."""
        self._pending.append(entry)
        self._weight += entry.weight
        self._metrics.pending_samples.set(self._weight)
        if self._weight >= self._max_samples:
            self._space.clear()
        self._submitted += 1
        self._waiting_of[entry.session] += 1
        self._work.set()
        if entry.columns is None:
            self._urgent.set()

    async def committed(self, entry: Callable[[Callable[[], None]], Entry]) -> None:
        """Submit the entry made with a callback, and wait for its commit. StoreUnavailable if it takes too long."""
        stored = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not stored.done():
                stored.set_result(None)

        self.submit(entry(done))
        await answered(stored)

    async def space(self) -> None:
        await self._space.wait()

    def when_space(self, resume: Callable[[], None]) -> None:
        self._waiting.append(resume)

    async def drained(self, session: str | None = None) -> None:
        """Wait until all submitted so far (or all of one session) is committed; StoreUnavailable after a while."""
        if self._committed < self._submitted if session is None else self._waiting_of[session]:
            done = asyncio.get_running_loop().create_future()
            self._drains.append((self._submitted, done))
            self._urgent.set()
            await answered(done)

    async def run(self) -> None:
        """Commit for ever: samples after a short rest, to gather more; whatever somebody waits for, at once.

        If the database fails, the batch stays in the queue and is tried again. An entry that it cannot store is given
        up without an acknowledgement, and delays no other.
        """
        delay = RETRY_FIRST_S
        while True:
            await self._work.wait()
            self._work.clear()
            batch, self._pending = self._pending, []
            try:
                kept = await self._keep(batch)
            except StoreUnavailable as error:
                log.error("commit_failed", error=str(error), entries=len(batch), retry_s=delay)
                self._metrics.commit_failures.inc()
                self._put_back(batch)
                await asyncio.sleep(delay * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret
                delay = min(delay * 2, RETRY_MOST_S)
                continue
            except BaseException:
                self._put_back(batch)
                raise
            delay = RETRY_FIRST_S
            self._settle(batch, kept)
            self._urgent.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._urgent.wait(), self._commit_every_s)

    def _put_back(self, batch: list[Entry]) -> None:
        self._pending = batch + self._pending
        self._work.set()

    def _settle(self, batch: list[Entry], kept: list[Entry]) -> None:
        """Everything in the batch is dealt with: notify those waiting for entries that were stored, and make room."""
        self._weight -= sum(entry.weight for entry in batch)
        self._metrics.pending_samples.set(self._weight)
        for entry in kept:
            entry.done()
        self._waiting_of -= Counter(entry.session for entry in batch)
        if self._weight < self._max_samples // 2 and self.full:
            self._space.set()
            waiting, self._waiting = self._waiting, []
            for resume in waiting:
                resume()
        self._committed += len(batch)
        self._release_drains()

    def _release_drains(self) -> None:
        left = []
        for target, done in self._drains:
            if target > self._committed:
                left.append((target, done))
            elif not done.done():
                done.set_result(None)
        self._drains = left
