"""A timer session's row as the one truth of a cluster. A write names the revision it was made from, or does not happen.

PostgreSQL takes one writer of a row at a time, so of two relays exactly one wins; a relay that slept through its turn
holds an old revision and changes nothing, which is all that a fencing token does.
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
    """Reads as its base does. Nothing is put behind the answer's back: `insert`, `swap` and `erase` are the writes."""

    def __init__(self, engine: AsyncEngine, metrics: Metrics) -> None:
        super().__init__(engine, metrics, rest_s=0.0)
        self._shared = engine
        self._timing = metrics.timer_commit_seconds
        self._notes: list[Adjustment] = []

    def put(self, state: State) -> None:
        """A draft; `swap` writes it."""

    def note(self, adjustment: Adjustment) -> None:
        self._notes.append(adjustment)

    def notes(self) -> list[Adjustment]:
        """What was noted since the last call, for the swap it belongs to."""
        taken, self._notes = self._notes, []
        return taken

    async def committed(self) -> None:
        """Everything is."""

    async def read(self, session_id: str) -> Held | None:
        columns = timer_sessions.c
        query = sa.select(columns.body, columns.revision).where(columns.id == session_id)
        async with transaction(self._shared) as connection:
            found = await first(connection, query)
        return Held(decode(found["body"]), found["revision"]) if found else None

    async def insert(self, state: State) -> int:
        """A new session; its first revision, which is random, so that a later one of the same id is another's.

        Raises Conflict when the id is taken.
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
        """Write what was made from `revision`, which becomes one more; False when somebody else was first."""
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
        """Running sessions in which something happens by itself until then, the first due first."""
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
