"""A database whose host accepts connections and says nothing more: what is to be stored waits, and is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from core.contracts.timers import CreateSession, Mode
from relay.process.metrics import Metrics
from relay.scg.entries import Entry, Session, unawaited
from relay.scg.store import Store
from relay.timers.plans import begin
from relay.timers.store import Store as TimersStore
from tests.databases import writer_of
from tests.waiting import comes

SESSION = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
async def silent() -> AsyncIterator[AsyncEngine]:
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    engine = create_async_engine(f"postgresql+asyncpg://x:x@127.0.0.1:{port}/x", connect_args={"timeout": 0.05})
    yield engine
    await engine.dispose()
    for writer in held:
        writer.close()
    server.close()


async def test_what_a_silent_database_did_not_take_is_kept_and_tried_again(silent: AsyncEngine) -> None:
    metrics = Metrics()
    writer = writer_of(Store(silent, metrics), metrics)
    writer.submit(Entry(session=SESSION, done=unawaited, put=Session(id=SESSION, started_at_ms=0.0)))
    await _fails_again_and_again(writer.run, metrics.commit_failures)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(writer.drained(SESSION), 0.01)


async def test_a_timer_that_a_silent_database_did_not_take_is_kept_and_tried_again(silent: AsyncEngine) -> None:
    metrics = Metrics()
    store = TimersStore(silent, metrics, rest_s=0)
    store.put(begin(CreateSession("silent", Mode.GLOBAL, total_time_ms=60_000), 0))
    await _fails_again_and_again(store.run, metrics.commit_failures)
    assert await store.find("silent") is not None


async def _fails_again_and_again(run: Callable[[], Awaitable[None]], failures: Counter) -> None:
    running = asyncio.ensure_future(run())
    await comes(lambda: failures._value.get() >= 3 or running.done())
    assert not running.done(), running
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
