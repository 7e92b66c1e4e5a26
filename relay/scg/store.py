"""Heart sessions in the database: a batch is committed as a whole, and samples are read in the order of their times.

A message is stored once, however often and by however many relays it is put. Small chunks are merged later.
"""

from __future__ import annotations

import asyncio
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from core.contracts.scg import Columns
from core.contracts.seq_ranges import SeqRanges
from relay.cluster.leases import Fence, unfenced
from relay.db.models import scg_chunks, scg_received, scg_sessions
from relay.db.months import month_of, read_month
from relay.db.transactions import AWAY, rows, transaction, unstorable
from relay.errors import StoreUnavailable, reason
from relay.process.metrics import Metrics
from relay.scg.chunks import SMALL_SAMPLES, Key, in_order, joined, rows_of
from relay.scg.entries import Entry, Session

MANY_SMALL = 240
COMPACT_EVERY_S = 30.0
SETTLED = {
    "23505": "stored already",
    "SQLITE_CONSTRAINT_UNIQUE": "stored already",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "stored already",
    "23503": "of a recording that was removed",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "of a recording that was removed",
}
"""Constraint violations after which a message need not be stored; after any other, it is tried again."""

log = structlog.get_logger(__name__)
_SESSIONS = sa.select(*(scg_sessions.c[name] for name in Session.__slots__))
_INSERT = sa.insert(scg_chunks).values(month=month_of(sa.bindparam("of")))


class Store:
    """`history` is a replica for reading finished recordings; it may lag behind.

    Reading raises StoreUnavailable when the database does not answer.
    """

    def __init__(self, engine: AsyncEngine, metrics: Metrics, *, history: AsyncEngine | None = None) -> None:
        self._engine = engine
        self._history = history or engine
        self._insert = (postgresql if engine.dialect.name == "postgresql" else sqlite).insert
        self._metrics = metrics

    async def keep(self, batch: list[Entry]) -> list[Entry]:
        """Commit a batch, and return the entries that are stored now: all in one transaction, else one by one.

        An entry that the database cannot store is given up and counted. StoreUnavailable: try the whole batch again.
        """
        try:
            return await self._kept(batch)
        except AWAY as error:
            raise StoreUnavailable(reason(error)) from error

    async def _kept(self, batch: list[Entry]) -> list[Entry]:
        try:
            await self._commit(batch)
        except AWAY as error:
            if not (isinstance(error, IntegrityError) or unstorable(error)):
                raise
            return [entry for entry in batch if await self._keeps(entry)]
        return batch

    async def _keeps(self, entry: Entry) -> bool:
        """Commit one entry. One that another relay on this database stored or removed before counts as kept."""
        try:
            await self._commit([entry])
        except IntegrityError as error:
            why = SETTLED.get(_broken(error))
            if why is None:
                raise
            self._metrics.duplicates.inc()
            log.warning("entry_not_needed", session=entry.session, seq=entry.seq, why=why)
        except AWAY as error:
            if not unstorable(error):
                raise
            self._metrics.unstorable.inc()
            log.error("entry_unstorable", session=entry.session, seq=entry.seq, error=type(error).__name__)
            return False
        return True

    async def _commit(self, batch: list[Entry]) -> None:
        with self._metrics.commit_seconds.time():
            async with self._engine.begin() as connection:
                for entry in batch:
                    if entry.put is not None:
                        await self._put(connection, entry.put, only_new=entry.begins)
                received = await self._lock_received(connection, batch)
                made = await asyncio.to_thread(rows_of, batch, received)
                if made:
                    await connection.execute(_INSERT, [row | {"of": row["session_id"]} for row in made])
                await _keep_received(connection, made, received)
                for entry in batch:
                    if entry.ended_at_ms is not None:
                        await _end(connection, entry.session, entry.ended_at_ms)
        self._metrics.samples_stored.inc(sum(row["samples"] for row in made))

    async def _lock_received(self, connection: AsyncConnection, batch: list[Entry]) -> dict[Key, SeqRanges]:
        """The stored sequence numbers of each boot in the batch, locked until the commit so that none is added."""
        keys = sorted({(entry.session, entry.boot) for entry in batch if entry.columns is not None and entry.boot})
        if not keys:
            return {}
        columns = scg_received.c
        empty = [{"session_id": session, "boot": boot, "seqs": []} for session, boot in keys]
        await connection.execute(self._insert(scg_received).on_conflict_do_nothing(), empty)
        query = sa.select(scg_received).where(sa.tuple_(columns.session_id, columns.boot).in_(keys))
        found = await connection.execute(query.order_by(columns.session_id, columns.boot).with_for_update())
        return {(row["session_id"], row["boot"]): SeqRanges(row["seqs"]) for row in found.mappings()}

    async def _put(self, connection: AsyncConnection, session: Session, *, only_new: bool) -> None:
        """Insert the session's row; unless `only_new`, update an existing row with every value that is not None."""
        values = {key: value for key in Session.__slots__ if (value := getattr(session, key)) is not None}
        insert = self._insert(scg_sessions).values(**values)
        if only_new:
            await connection.execute(insert.on_conflict_do_nothing())
        else:
            await connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=values))

    @staticmethod
    def small() -> sa.Select[Any]:
        """Sessions with small chunks. The limit is a literal in the SQL, so that the partial index applies."""
        columns = scg_chunks.c
        few = columns.samples < sa.literal(SMALL_SAMPLES, literal_execute=True)
        return sa.select(columns.session_id).where(few).group_by(columns.session_id)

    async def compact_for_ever(self, fence: Fence) -> None:
        """Merge the small chunks of frequent commits: a day is then read in thousands of rows, not in a million."""
        query = self.small().having(sa.func.count() >= MANY_SMALL)
        while True:
            await asyncio.sleep(COMPACT_EVERY_S)
            for row in await self._read(query):
                await self.compact(row["session_id"], fence)

    async def compact(self, session_id: str, fence: Fence = unfenced) -> int:
        """Merge a session's small chunks, per boot, in one transaction; returns by how many the rows became fewer.

        The rows are locked: if two relays do this at once, the second finds them gone.
        """
        columns = scg_chunks.c
        query = sa.select(scg_chunks).where(columns.session_id == session_id, columns.samples < SMALL_SAMPLES)
        async with self._engine.begin() as connection:
            await fence(connection)
            month = await read_month(connection, session_id)
            query = query.where(columns.month == month).order_by(columns.id).with_for_update()
            small = await rows(connection, query)
            runs = await asyncio.to_thread(joined, small)
            old = [{"old": number} for numbers, _ in runs for number in numbers]
            if old:
                gone = sa.delete(scg_chunks).where(columns.id == sa.bindparam("old"), columns.month == month)
                await connection.execute(gone, old)
                await connection.execute(sa.insert(scg_chunks), [row | {"month": month} for _, row in runs])
        return len(old) - len(runs)

    async def session(self, session_id: str) -> Session | None:
        found = await self._read(_SESSIONS.where(scg_sessions.c.id == session_id))
        return Session(**found[0]) if found else None

    async def recent(self, limit: int) -> list[Session]:
        query = _SESSIONS.order_by(scg_sessions.c.started_at_ms.desc()).limit(limit)
        return [Session(**row) for row in await self._read(query)]

    async def seen(self, session_id: str) -> dict[str, SeqRanges]:
        """The stored messages of a session, per boot."""
        columns = scg_received.c
        query = sa.select(columns.boot, columns.seqs).where(columns.session_id == session_id)
        return {row["boot"]: SeqRanges(row["seqs"]) for row in await self._read(query)}

    async def samples(self, session_id: str, *, over: bool = False) -> Columns | None:
        """All stored samples of a session in the order of their times; None when there are none.

        With `over` (ended some time ago) the replica is asked first; if it fails or has nothing, the database itself.
        """
        query = sa.select(scg_chunks.c.body).order_by(scg_chunks.c.id)
        found = await self._read_replica(query, session_id) if over else []
        bodies = [row["body"] for row in found or await self._read(query, of=session_id)]
        return await asyncio.to_thread(in_order, bodies) if bodies else None

    async def _read_replica(self, query: sa.Select[Any], session_id: str) -> list[dict[str, Any]]:
        if self._history is self._engine:
            return []
        try:
            return await self._read(query, self._history, of=session_id)
        except StoreUnavailable:
            return []

    async def since(self, session_id: str, after: float | None, window_ms: float) -> Columns | None:
        """The stored samples after `after` (ms), or without it of the last `window_ms`, in the order of their times."""
        columns = scg_chunks.c
        if after is None:
            newest = sa.select(sa.func.max(columns.t_max).label("t"))
            found = (await self._read(newest, of=session_id))[0]["t"]
            if found is None:
                return None
            after = float(found) - window_ms
        query = sa.select(columns.body).where(columns.t_max > after).order_by(columns.id)
        bodies = [row["body"] for row in await self._read(query, of=session_id)]
        whole = await asyncio.to_thread(in_order, bodies) if bodies else None
        if whole is None or not (keep := whole.t > after).any():
            return None
        return Columns(t=whole.t[keep], ax=whole.ax[keep], ay=whole.ay[keep], az=whole.az[keep])

    async def count(self, session_id: str) -> int:
        query = sa.select(sa.func.coalesce(sa.func.sum(scg_chunks.c.samples), 0).label("n"))
        found = await self._read(query, of=session_id)
        return int(found[0]["n"])

    async def _read(
        self, query: sa.Select[Any], engine: AsyncEngine | None = None, *, of: str | None = None
    ) -> list[dict[str, Any]]:
        """With `of`, only that session's chunks, read from the partition of its month."""
        async with transaction(engine or self._engine) as connection:
            if of is not None:
                month = await read_month(connection, of)
                query = query.where(scg_chunks.c.session_id == of, scg_chunks.c.month == month)
            return await rows(connection, query)


async def _keep_received(
    connection: AsyncConnection, added: list[dict[str, Any]], received: dict[Key, SeqRanges]
) -> None:
    """Record the sequence numbers these rows added, in the same transaction."""
    columns = scg_received.c
    kept = []
    for row in added:
        if row["boot"] is not None and row["seqs"]:
            ranges = received[row["session_id"], row["boot"]]
            ranges.extend(row["seqs"])
            kept.append({"the_session": row["session_id"], "the_boot": row["boot"], "seqs": ranges.ranges()})
    if kept:
        one = (columns.session_id == sa.bindparam("the_session"), columns.boot == sa.bindparam("the_boot"))
        await connection.execute(sa.update(scg_received).where(*one).values(seqs=sa.bindparam("seqs")), kept)


async def _end(connection: AsyncConnection, session_id: str, ended_at_ms: float) -> None:
    first = scg_sessions.c.ended_at_ms.is_(None)
    query = sa.update(scg_sessions).where(scg_sessions.c.id == session_id, first)
    await connection.execute(query.values(ended_at_ms=ended_at_ms))


def _broken(error: IntegrityError) -> str:
    """The database's own code for the kind of constraint that was violated."""
    return str(getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", ""))
