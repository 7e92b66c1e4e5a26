"""Shared timers inside one relay: whoever reads a row between its commit and the answer, nobody is told twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from core.contracts.timers import CreateSession, Mode, Switch
from relay.clock import SteadyClock
from relay.db.engine import database_url, migrate, open_engine
from relay.process.metrics import Metrics
from relay.rooms import Audience, Member
from relay.timers import rules
from relay.timers.plans import begin
from relay.timers.service import Bounds
from relay.timers.shared.service import SharedTimers
from relay.timers.shared.store import SharedStore
from relay.timers.states import State
from relay.timers.store import Adjustment, Store
from tests.peers_postgres import Postgres


class Nobody:
    """A cluster of one."""

    def rank(self, session_id: str) -> int:
        return 0

    def tell(self, session_id: str, message: bytes) -> None:
        return

    async def listen(self, session_id: str, heard: Callable[[bytes], None]) -> Callable[[], None]:
        return lambda: None


class SlowAnswer(SharedStore):
    """A database whose answer to a commit is late: others read the row meanwhile."""

    between: Callable[[], Any] | None = None

    async def swap(self, state: State, revision: int, notes: Any = ()) -> bool:
        done = await super().swap(state, revision, notes)
        if self.between is not None:
            await self.between()
        return done


class Ear:
    """A socket that is never full, and what was written to it."""

    paused = False
    waiting_bytes = 0

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def write_frame(self, frame: bytes) -> None:
        self.heard.append(frame)

    def end(self, code: int, reason: str = "") -> None:
        return


async def test_a_row_that_is_read_before_its_writer_knows_is_told_once(postgres: Postgres) -> None:
    engine = open_engine(database_url(postgres.database(), Path()))
    await migrate(engine)
    store = SlowAnswer(engine, Metrics())
    service = SharedTimers(store, SteadyClock(), Metrics(), Bounds(100, 100, 1000), Nobody())
    body = {
        "session_id": "board",
        "sync_mode": "per_participant",
        "participants": [
            {"participant_id": who, "participant_index": k, "total_time_ms": 600_000} for k, who in enumerate("ab")
        ],
    }
    await service.create(msgspec.convert(body, CreateSession))
    live = await service.find("board")
    ear = Ear()
    service.enter(live, Member(ear, Audience.VIEWER))
    await asyncio.sleep(0)
    stale = await store.read("board")
    assert stale is not None

    async def read() -> None:
        await service.find("board")

    store.between = read
    await service.change(live, lambda it: service.start(it, None))
    await service.change(live, lambda it: service.switch(it, Switch()))
    store.between = None
    updates = [frame for frame in ear.heard if b"SESSION_UPDATE" in frame]
    assert len(updates) == 2
    assert [b'"version":2' in updates[0], b'"version":3' in updates[1]] == [True, True]
    service._adopt(stale)
    assert live.state.version == 3
    assert len(ear.heard) == 2
    assert not [one for one in store.notes() if isinstance(one, Adjustment)]
    live.farewell()
    await engine.dispose()


async def test_a_timer_that_the_database_cannot_keep_holds_up_no_other(postgres: Postgres) -> None:
    engine = open_engine(database_url(postgres.database(), Path()))
    await migrate(engine)
    store = Store(engine, Metrics(), rest_s=0)
    for name in ("a", "\0", "b"):
        store.put(rules.start(begin(CreateSession(name, Mode.COUNT_UP), 0), 0).state)
    writing = asyncio.create_task(store.run())
    await asyncio.wait_for(store.committed(), 30)
    assert sorted(state.plan.session_id for state in await store.running()) == ["a", "b"]
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await engine.dispose()
