"""A duty that one relay of a cluster does at a time, under a lease that is renewed while the duty runs.

A relay that cannot renew its lease stops before another may begin. If it was suspended in between and still writes, the
database refuses the write because the lease's term is over (relay.db.leases.fence).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog

from relay.errors import LeaseLost, StoreUnavailable

LASTS_S = 3.0
KEEP_EVERY_S = 0.8
LEAVE_WITHIN_S = 1.0

Fence = Callable[[Any], Awaitable[None]]
"""Called with a transaction's connection; raises LeaseLost when the duty belongs to another relay by now."""
log = structlog.get_logger(__name__)


async def unfenced(_: Any) -> None:
    """The fence of a relay that is alone: it never refuses."""


class Leases(Protocol):
    """Implemented by relay.db.leases.Leases."""

    async def take(self, name: str, holder: str, lasts_s: float) -> int | None: ...
    async def keep(self, name: str, term: int, lasts_s: float) -> bool: ...
    async def end(self, name: str, term: int) -> None: ...
    def fence(self, name: str, term: int) -> Fence: ...


class Turn:
    """`run` does the duty whenever this relay holds the lease of that name."""

    def __init__(self, leases: Leases, name: str, holder: str, duty: Callable[[Fence], Awaitable[None]]) -> None:
        self._leases, self._name, self._holder, self._duty = leases, name, holder, duty

    async def run(self) -> None:
        while True:
            began = asyncio.get_running_loop().time()
            with contextlib.suppress(StoreUnavailable):
                term = await self._leases.take(self._name, self._holder, LASTS_S)
                if term is not None:
                    log.info("lease_taken", duty=self._name, term=term)
                    await self._while_held(term, began + LASTS_S)
                    continue
            await asyncio.sleep(KEEP_EVERY_S * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret

    async def _while_held(self, term: int, until_s: float) -> None:
        working = asyncio.ensure_future(self._duty(self._leases.fence(self._name, term)))
        try:
            await self._keep(working, term, until_s)
        finally:
            working.cancel()
            await asyncio.wait([working])
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                await asyncio.wait_for(self._leases.end(self._name, term), LEAVE_WITHIN_S)
        failed = None if working.cancelled() else working.exception()
        if failed is not None and not isinstance(failed, LeaseLost):
            raise failed

    async def _keep(self, working: asyncio.Future[None], term: int, until_s: float) -> None:
        """Renew the lease until it is lost or the duty has ended."""
        loop = asyncio.get_running_loop()
        while not working.done() and loop.time() < until_s:
            await asyncio.wait([working], timeout=min(KEEP_EVERY_S, max(until_s - loop.time(), 0)))
            began = loop.time()
            try:
                async with asyncio.timeout_at(until_s):
                    if not await self._leases.keep(self._name, term, LASTS_S):
                        break
            except (StoreUnavailable, TimeoutError):
                continue
            until_s = began + LASTS_S
        if not working.done():
            log.warning("lease_lost", duty=self._name, term=term)
