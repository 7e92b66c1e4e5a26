"""Applies the retention policy to every recording once an hour, on one relay at a time, and logs what it did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date
from functools import partial

import structlog

from relay.cluster.leases import Fence
from relay.errors import StoreUnavailable
from relay.process.metrics import Metrics
from relay.retention import rules
from relay.retention.rules import DAY_MS, Fate, Policy, Recording
from relay.retention.store import Judge, RetentionStore

EVERY_S = 3600.0
REST_S = 0.02
"""Pause after each recording that was changed, so that new samples go first."""

log = structlog.get_logger(__name__)


class Retention:
    def __init__(self, store: RetentionStore, policy: Policy, now_ms: Callable[[], float], metrics: Metrics) -> None:
        self._store, self._policy, self._now_ms, self._metrics = store, policy, now_ms, metrics

    async def run(self, fence: Fence) -> None:
        while True:
            try:
                await self.sweep(fence)
            except StoreUnavailable as error:
                log.warning("retention_waits", reason=str(error))
            await asyncio.sleep(EVERY_S)

    async def sweep(self, fence: Fence) -> None:
        """Check every recording once; before that, remove whole months of which nothing is to stay."""
        if self._policy.remove_days:
            for month in await self._store.months(self._now_ms() - self._policy.remove_days * DAY_MS):
                await self._do_month(month, fence)
        last = ""
        while found := await self._old(last):
            for one, what in rules.due(found, self._policy, self._now_ms()):
                if what in (Fate.REMOVE, Fate.THIN):
                    await self._do(one, what, fence)
                    await asyncio.sleep(REST_S)
            last = found[-1].id

    async def due(self) -> list[tuple[Recording, Fate]]:
        """What the next sweep would do, and what it would leave alone because of a hold or a review."""
        found, last = list[tuple[Recording, Fate]](), ""
        while old := await self._old(last):
            found += rules.due(old, self._policy, self._now_ms())
            last = old[-1].id
        return found

    async def _old(self, last: str) -> list[Recording]:
        if not self._policy.active:
            return []
        return await self._store.old(self._policy, self._now_ms(), last)

    async def _do_month(self, month: date, fence: Fence) -> None:
        whole = await self._store.whole(month, self._judge())
        if whole is None:
            return
        try:
            removed = await self._store.remove_month(whole, fence)
        except StoreUnavailable as error:
            log.info("month_goes_one_by_one", month=str(month), reason=str(error))
            return
        if removed:
            self._metrics.recordings_removed.inc(len(whole.recordings))
            for session in sorted(whole.recordings):
                log.info("recording_removed", session=session, month=str(month))

    def _judge(self) -> Judge:
        return partial(rules.fate, policy=self._policy, now_ms=self._now_ms())

    async def _do(self, recording: Recording, what: Fate, fence: Fence) -> None:
        judge = self._judge()
        if what is Fate.REMOVE and await self._store.remove(recording.id, judge, fence):
            self._metrics.recordings_removed.inc()
            log.info("recording_removed", session=recording.id, last_ms=int(recording.last_ms))
        elif what is Fate.THIN:
            gone = await self._store.thin(recording.id, self._policy.thin_hz, judge, fence)
            self._metrics.samples_thinned.inc(gone)
            log.info("recording_thinned", session=recording.id, hz=self._policy.thin_hz, samples=gone)
