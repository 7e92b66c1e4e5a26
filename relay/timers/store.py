"""Timer sessions in the database, written behind: memory is ahead by at most one rest and one commit.

All changed sessions are written in one transaction, each in its newest state only; ten switches between two commits are
one write. When the database fails, what was not written waits and is tried again.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from relay.commits import answered
from relay.db.models import timer_audit, timer_clock, timer_sessions
from relay.db.transactions import AWAY, rows, transaction, unstorable
from relay.errors import reason
from relay.process.metrics import Metrics
from relay.timers.states import State, Status

RETRY_FIRST_S, RETRY_MOST_S = 0.05, 2.0
ROWS_AT_ONCE = 500
"""Rows encoded before other tasks get a turn: thousands of changes must not hold up a switch."""

log = structlog.get_logger(__name__)
decode = msgspec.json.Decoder(State).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A time set by hand: who set whose, from what to what, and why."""

    session_id: str
    at_ms: int
    who: str
    participant_id: str
    before_ms: int
    after_ms: int
    reason: str | None


class Store:
    """Reads sessions, and writes what was put. Nothing is committed unless `run` is running."""

    def __init__(self, engine: AsyncEngine, metrics: Metrics, *, rest_s: float) -> None:
        self._engine = engine
        self._metrics = metrics
        self._rest_s = rest_s
        self._changed: dict[str, State | None] = {}
        self._writing: dict[str, State | None] = {}
        self._adjustments: list[Adjustment] = []
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._committed: asyncio.Future[None] | None = None
        self._committing: asyncio.Future[None] | None = None
        dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
        self._upsert = _upsert(dialect)

    # -- writing -------------------------------------------------------------------------------------------------

    def put(self, state: State) -> None:
        """Store this as the session's newest state. Never waits."""
        self._changed[state.plan.session_id] = state
        self._work.set()

    def remove(self, session_id: str) -> None:
        self._changed[session_id] = None
        self._work.set()

    def note(self, adjustment: Adjustment) -> None:
        self._adjustments.append(adjustment)
        self._work.set()

    async def committed(self) -> None:
        """Wait until everything put so far is committed, without the usual rest.

        Raises StoreUnavailable when that takes too long; what was put stays queued.
        """
        await answered(self._all_committed())

    async def _all_committed(self) -> None:
        if self._changed or self._adjustments:
            if self._committed is None:
                self._committed = asyncio.get_running_loop().create_future()
            self._hurry.set()
            await asyncio.shield(self._committed)
        elif self._committing is not None:
            await asyncio.shield(self._committing)

    async def drained(self) -> None:
        """Wait until nothing is left to commit, including what is put meanwhile."""
        while self._changed or self._adjustments or self._committing is not None:
            await self._all_committed()

    async def run(self) -> None:
        """Commit for ever."""
        delay = RETRY_FIRST_S
        while True:
            await self._work.wait()
            await self._rest()
            self._work.clear()
            self._hurry.clear()
            changed, self._changed = self._changed, {}
            self._writing = changed
            adjustments, self._adjustments = self._adjustments, []
            waiting, self._committed = self._committed, None
            self._committing = waiting or asyncio.get_running_loop().create_future()
            try:
                await self._keep(changed, adjustments)
            except AWAY as error:
                log.error("commit_failed", error=reason(error), timers=len(changed), retry_s=delay)
                self._metrics.commit_failures.inc()
                self._put_back(changed, adjustments)
                await asyncio.sleep(delay * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret
                delay = min(delay * 2, RETRY_MOST_S)
                continue
            delay = RETRY_FIRST_S
            self._writing = {}
            self._settled()

    def _settled(self) -> None:
        done, self._committing = self._committing, None
        if done is not None:
            done.set_result(None)

    async def _rest(self) -> None:
        if self._hurry.is_set() or not self._rest_s:
            return
        try:
            await asyncio.wait_for(self._hurry.wait(), self._rest_s)
        except TimeoutError:
            return

    def _put_back(self, changed: dict[str, State | None], adjustments: list[Adjustment]) -> None:
        """Queue a failed batch again. Newer states stay, and those who waited wait for the next commit."""
        self._changed = {**changed, **self._changed}
        self._adjustments = [*adjustments, *self._adjustments]
        before, self._committing = self._committing, None
        if self._committed is not None and before is not None:
            self._committed.add_done_callback(partial(_finish, before))
        elif before is not None:
            self._committed = before
        self._work.set()
        self._hurry.set()

    async def _keep(self, changed: dict[str, State | None], adjustments: list[Adjustment]) -> None:
        """Commit all together; if the database cannot store one of them, each by itself, without that one."""
        try:
            await self._commit(changed, adjustments)
        except AWAY as error:
            if not unstorable(error):
                raise
            for key, state in changed.items():
                await self._keep_one({key: state}, [])
            for adjustment in adjustments:
                await self._keep_one({}, [adjustment])

    async def _keep_one(self, changed: dict[str, State | None], adjustments: list[Adjustment]) -> None:
        try:
            await self._commit(changed, adjustments)
        except AWAY as error:
            if not unstorable(error):
                raise
            self._metrics.unstorable.inc()
            log.error("timer_unstorable", adjustments=len(adjustments), error=type(error).__name__)

    async def _commit(self, changed: dict[str, State | None], adjustments: list[Adjustment]) -> None:
        written: list[dict[str, Any]] = []
        for number, state in enumerate(changed.values(), 1):
            if state is not None:
                written.append(row_of(state))
            if number % ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)
        gone = [key for key, state in changed.items() if state is None]
        with self._metrics.timer_commit_seconds.time():
            async with self._engine.begin() as connection:
                await self._write(connection, written, gone, adjustments)

    async def _write(
        self, connection: AsyncConnection, written: list[dict[str, Any]], gone: list[str], adjustments: list[Adjustment]
    ) -> None:
        if written:
            await connection.execute(self._upsert, written)
        for key in gone:
            await connection.execute(sa.delete(timer_sessions).where(timer_sessions.c.id == key))
        if adjustments:
            await connection.execute(sa.insert(timer_audit), [asdict(one) for one in adjustments])

    # -- reading -------------------------------------------------------------------------------------------------

    async def find(self, session_id: str) -> State | None:
        """A session as last put, or as stored; None when there is none."""
        for ahead in (self._changed, self._writing):
            if session_id in ahead:
                return ahead[session_id]
        columns = timer_sessions.c
        found = await self._read(sa.select(columns.body).where(columns.id == session_id))
        return decode(found[0]["body"]) if found else None

    async def running(self) -> list[State]:
        columns = timer_sessions.c
        found = await self._read(sa.select(columns.body).where(columns.status == Status.RUNNING.value))
        return [decode(row["body"]) for row in found]

    async def recent(self, limit: int) -> list[State]:
        """The sessions changed last, newest first."""
        columns = timer_sessions.c
        query = sa.select(columns.body).order_by(columns.updated_ms.desc(), columns.id).limit(limit)
        return [decode(row["body"]) for row in await self._read(query)]

    async def adjustments(self, session_id: str) -> list[Adjustment]:
        columns = [column for column in timer_audit.c if column.name != "id"]
        query = sa.select(*columns).where(timer_audit.c.session_id == session_id).order_by(timer_audit.c.id)
        return [Adjustment(**row) for row in await self._read(query)]

    # -- the anchor of the timescale -----------------------------------------------------------------------------

    async def anchor(self, boot: str) -> int | None:
        """The anchor of the running sessions' timescale in this boot of the machine; None when none run."""
        query = sa.select(timer_clock.c.anchor_ns).where(timer_clock.c.boot_id == boot)
        found = await self._read(query) if boot else []
        return int(found[0]["anchor_ns"]) if found and await self.running() else None

    async def keep_anchor(self, boot: str, anchor_ns: int, *, alone: bool = True) -> None:
        """Store the anchor for this boot of the machine; a relay that is `alone` deletes all others."""
        others = sa.true() if alone else timer_clock.c.boot_id == boot
        async with self._engine.begin() as connection:
            await connection.execute(sa.delete(timer_clock).where(others))
            if boot:
                await connection.execute(sa.insert(timer_clock).values(boot_id=boot, anchor_ns=anchor_ns))

    async def _read(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        async with transaction(self._engine) as connection:
            return await rows(connection, query)


def _finish(waiting: asyncio.Future[None], _: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def row_of(state: State) -> dict[str, Any]:
    return {
        "id": state.plan.session_id,
        "status": state.status.value,
        "version": state.version,
        "updated_ms": state.updated_ms,
        "body": _encode(state).decode(),
    }


def _upsert(dialect: Any) -> Any:
    insert = dialect.insert(timer_sessions)
    changing = {name: insert.excluded[name] for name in ("status", "version", "updated_ms", "body")}
    return insert.on_conflict_do_update(index_elements=["id"], set_=changing)
