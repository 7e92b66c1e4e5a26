"""Two switches at once, again and again: exactly one wins, and no version is missing or given twice."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from core.contracts.timers import CreateSession, Mode, Participant, Switch
from relay.clock import SteadyClock
from relay.db.engine import migrate, open_engine, sqlite_url
from relay.errors import Conflict, StoreUnavailable
from relay.process.metrics import Metrics
from relay.timers.service import Bounds, TimersService
from relay.timers.store import Store


@pytest.mark.parametrize("rounds", [1_000, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_of_two_switches_at_once_exactly_one_wins(tmp_path: Path, rounds: int) -> None:
    engine = open_engine(sqlite_url(tmp_path))
    await migrate(engine)
    store = Store(engine, Metrics(), rest_s=0.04)
    bounds = Bounds(sessions=10, sockets=10, switches_per_s=10**9)
    service = TimersService(store, SteadyClock(), Metrics(), bounds)
    writing = asyncio.create_task(store.run())
    people = [Participant(name, total_time_ms=86_400_000) for name in ("a", "b")]
    await service.create(CreateSession("race", Mode.PER_PARTICIPANT, people))
    live = await service.find("race")
    service.start(live, None)

    async def switch(current: str) -> Any:
        found = await service.find("race")
        await asyncio.sleep(0)
        try:
            return service.switch(found, Switch(current))["version"]
        except Conflict:
            return None

    for number in range(rounds):
        current = "ab"[number % 2]
        won = [version for version in await asyncio.gather(switch(current), switch(current)) if version]
        assert won == [number + 3]
    await store.drained()
    kept = await store.find("race")
    assert kept is not None
    assert kept.version == rounds + 2
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await engine.dispose()


async def test_who_begins_a_timer_while_nothing_can_be_written_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.commits.ANSWER_WITHIN_S", 0.1)
    engine = open_engine(sqlite_url(tmp_path))
    await migrate(engine)
    store = Store(engine, Metrics(), rest_s=0.04)
    service = TimersService(store, SteadyClock(), Metrics(), Bounds(sessions=10, sockets=10, switches_per_s=10))
    writing = asyncio.create_task(store.run())
    with contextlib.closing(sqlite3.connect(str(engine.url.database), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="disk"):
            await service.create(CreateSession("full", Mode.GLOBAL, total_time_ms=60_000))
    await store.drained()
    assert await store.find("full") is not None
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await engine.dispose()
