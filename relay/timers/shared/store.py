"""A timer session's row as the single truth of a cluster. A write names the revision it was made from, or fails.

PostgreSQL admits one writer of a row at a time, so of two relays exactly one wins. A relay that was suspended holds an
old revision and changes nothing: the revision works as a fencing token.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.db.models import timer_audit, timer_sessions
from relay.db.transactions import first, rows, transaction
from relay.errors import Conflict
from relay.process.metrics import Metrics
from relay.timers.states import State, Status, deadline_ms
from relay.timers.store import Adjustment, Store, decode, row_of


class Held(NamedTuple):
    state: State
    revision: int


class SharedStore(Store):
    """Reads like its base. Writes are made before the answer: `insert`, `swap` and `erase`."""

    def __init__(self, engine: AsyncEngine, metrics: Metrics) -> None:
        super().__init__(engine, metrics, rest_s=0.0)
        self._shared = engine
        self._timing = metrics.timer_commit_seconds
        self._notes: list[Adjustment] = []

    def put(self, state: State) -> None:
        """Does nothing: this is a draft, which `swap` writes."""

    def note(self, adjustment: Adjustment) -> None:
        self._notes.append(adjustment)

    def notes(self) -> list[Adjustment]:
        """The adjustments noted since the last call, for the swap they belong to."""
        taken, self._notes = self._notes, []
        return taken

    async def committed(self) -> None:
        """Returns at once: every write is committed already."""

    async def read(self, session_id: str) -> Held | None:
        columns = timer_sessions.c
        query = sa.select(columns.body, columns.revision).where(columns.id == session_id)
        async with transaction(self._shared) as connection:
            found = await first(connection, query)
        return Held(decode(found["body"]), found["revision"]) if found else None

    async def insert(self, state: State) -> int:
        """Insert a new session; returns its first revision. Raises Conflict when the id is taken.

        The first revision is random, so that a later session of the same id is not taken for this one.
        """
        revision = secrets.randbits(52)
        try:
            async with transaction(self._shared, write=True) as connection:
                await connection.execute(sa.insert(timer_sessions).values(**_shared_row(state, revision)))
        except IntegrityError:
            raise Conflict(
                f"There is a session {state.plan.session_id!r} already. Choose another id, or delete that one."
            ) from None
        return revision

    async def swap(self, state: State, revision: int, notes: Iterable[Adjustment] = ()) -> bool:
        """Write a state made from `revision`, which is raised by one; False when another write was first."""
        columns = timer_sessions.c
        update = sa.update(timer_sessions).where(columns.id == state.plan.session_id, columns.revision == revision)
        with self._timing.time():
            async with transaction(self._shared, write=True) as connection:
                done = await connection.execute(update.values(**_shared_row(state, revision + 1)))
                if done.rowcount != 1:
                    return False
                if adjusted := [asdict(one) for one in notes]:
                    await connection.execute(sa.insert(timer_audit), adjusted)
        return True

    async def erase(self, session_id: str) -> bool:
        async with transaction(self._shared, write=True) as connection:
            done = await connection.execute(sa.delete(timer_sessions).where(timer_sessions.c.id == session_id))
        return bool(done.rowcount)

    async def due_before(self, moment_ms: int, limit: int) -> list[Held]:
        """Running sessions in which something happens by itself until then, ordered by when."""
        columns = timer_sessions.c
        running = (columns.status == Status.RUNNING.value, columns.due_ms <= moment_ms)
        query = sa.select(columns.body, columns.revision).where(*running).order_by(columns.due_ms).limit(limit)
        async with transaction(self._shared) as connection:
            return [Held(decode(found["body"]), found["revision"]) for found in await rows(connection, query)]

    async def revisions(self, session_ids: list[str]) -> dict[str, int]:
        columns = timer_sessions.c
        query = sa.select(columns.id, columns.revision).where(columns.id.in_(session_ids))
        async with transaction(self._shared) as connection:
            return {found["id"]: found["revision"] for found in await rows(connection, query)}


def _shared_row(state: State, revision: int) -> dict[str, Any]:
    return {**row_of(state), "revision": revision, "due_ms": deadline_ms(state)}
