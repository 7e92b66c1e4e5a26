"""Heart sessions at rest, and the one writer that puts them there. An acknowledgement follows the commit.

Whatever arrives between two commits goes in together: one transaction, one wait for the disk, however many sessions.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from core.contracts.scg import ClockNote, Columns
from core.contracts.seq_ranges import SeqRanges
from relay.cluster.leases import Fence, unfenced
from relay.db.models import scg_chunks, scg_received, scg_sessions
from relay.db.months import month_of, read_month
from relay.db.transactions import AWAY, answered, rows, transaction, unstorable
from relay.errors import StoreUnavailable
from relay.process.metrics import Metrics
from relay.scg.chunks import SMALL_SAMPLES, Key, in_order, joined, rows_of

RETRY_FIRST_S, RETRY_MOST_S = 0.1, 5.0
MANY_SMALL = 240
COMPACT_EVERY_S = 30.0
SETTLED = {
    "23505": "stored already",
    "SQLITE_CONSTRAINT_UNIQUE": "stored already",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "stored already",
    "23503": "of a recording that was removed",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "of a recording that was removed",
}
"""What a constraint says of a message that need not be stored; with any other it is tried again."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Session:
    """A row of scg_sessions but its month; times in epoch ms."""

    id: str
    started_at_ms: float
    ended_at_ms: float | None = None
    kit: str | None = None
    user_agent: str = ""
    platform: str = ""
    unit: str = "m/s2"
    sensor: dict[str, Any] | None = None
    thinned_hz: float | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One message to be committed. `done` is called after the commit, in the order of submission.

    A session that `begins` is put only where none is: another relay may have begun and described it meanwhile.
    """

    session: str
    done: Callable[[], None]
    columns: Columns | None = None
    boot: str | None = None
    seq: int | None = None
    clock: ClockNote | None = None
    put: Session | None = None
    begins: bool = False
    ended_at_ms: float | None = None

    @property
    def weight(self) -> int:
        return len(self.columns) if self.columns is not None else 1


_SESSIONS = sa.select(*(scg_sessions.c[name] for name in Session.__slots__))
_INSERT = sa.insert(scg_chunks).values(month=month_of(sa.bindparam("of")))


class Store:
    """Reads sessions, and writes what was submitted. `run` must be running for anything to be committed.

    `history` is a replica, for recordings that are over; it may lag behind.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        metrics: Metrics,
        *,
        max_samples: int,
        commit_every_s: float,
        history: AsyncEngine | None = None,
    ) -> None:
        self._engine = engine
        self._history = history or engine
        self._insert = (postgresql if engine.dialect.name == "postgresql" else sqlite).insert
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

    told = staticmethod(answered)

    @property
    def full(self) -> bool:
        return not self._space.is_set()

    def submit(self, entry: Entry) -> None:
        """Hand over a message for the next commit. Ask `full` first: a sender is made to wait, never dropped."""
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

    async def space(self) -> None:
        await self._space.wait()

    def when_space(self, resume: Callable[[], None]) -> None:
        self._waiting.append(resume)

    async def drained(self, session: str | None = None) -> None:
        """Returns when all submitted before this call, or of a session, is committed; StoreUnavailable if not soon."""
        if self._committed < self._submitted if session is None else self._waiting_of[session]:
            done = asyncio.get_running_loop().create_future()
            self._drains.append((self._submitted, done))
            self._urgent.set()
            await answered(done)

    async def run(self) -> None:
        """Commit for ever, samples after a short rest, what somebody waits for at once.

        A database that fails is tried again; what waits for it stays, and is counted. What it cannot keep is given up,
        without an acknowledgement, and holds up nobody else's.
        """
        delay = RETRY_FIRST_S
        while True:
            await self._work.wait()
            self._work.clear()
            batch, self._pending = self._pending, []
            try:
                kept = await self._kept(batch)
            except AWAY as error:
                log.error("commit_failed", error=str(error).splitlines()[0], entries=len(batch), retry_s=delay)
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
        """All of the batch is dealt with; what was kept is told to whoever waits for it."""
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

    async def _kept(self, batch: list[Entry]) -> list[Entry]:
        """What of a batch is stored now: all, together; else what can be, one by one."""
        try:
            await self._commit(batch)
        except AWAY as error:
            if not (isinstance(error, IntegrityError) or unstorable(error)):
                raise
            return [entry for entry in batch if await self._keeps(entry)]
        return batch

    async def _keeps(self, entry: Entry) -> bool:
        """What another relay on the same database stored, or removed, first counts as kept."""
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
        """What is stored of each boot in the batch, held still until the commit: nobody else adds to it meanwhile."""
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
        """Insert, or fill in what was not known when the session was first heard of."""
        values = {key: value for key in Session.__slots__ if (value := getattr(session, key)) is not None}
        insert = self._insert(scg_sessions).values(**values)
        if only_new:
            await connection.execute(insert.on_conflict_do_nothing())
        else:
            await connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=values))

    @staticmethod
    def small() -> sa.Select[Any]:
        """Sessions with small chunks, by an index of these alone; hence the number in the statement's own text."""
        columns = scg_chunks.c
        few = columns.samples < sa.literal(SMALL_SAMPLES, literal_execute=True)
        return sa.select(columns.session_id).where(few).group_by(columns.session_id)

    async def compact_for_ever(self, fence: Fence) -> None:
        """Join the small chunks that quick commits leave: a day is read in thousands of rows, not in a million."""
        query = self.small().having(sa.func.count() >= MANY_SMALL)
        while True:
            await asyncio.sleep(COMPACT_EVERY_S)
            for row in await self._read(query):
                await self.compact(row["session_id"], fence)

    async def compact(self, session_id: str, fence: Fence = unfenced) -> int:
        """Join a session's small chunks, boot by boot, in one transaction; gives how many rows went.

        The rows are locked: of two relays at once, the second finds them gone.
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
        """Per boot, the messages of a session that are stored."""
        columns = scg_received.c
        query = sa.select(columns.boot, columns.seqs).where(columns.session_id == session_id)
        return {row["boot"]: SeqRanges(row["seqs"]) for row in await self._read(query)}

    async def samples(self, session_id: str, *, over: bool = False) -> Columns | None:
        """Everything stored of a session, in the order of its times; None when there is nothing yet.

        Of one that is long `over` the replica is asked, and the database itself when that does not answer.
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
        """What is stored with times beyond `after`, else of the last `window_ms`, in the order of their times."""
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
        """`of`: only that session's chunks, and only in the table of its month."""
        async with transaction(engine or self._engine) as connection:
            if of is not None:
                month = await read_month(connection, of)
                query = query.where(scg_chunks.c.session_id == of, scg_chunks.c.month == month)
            return await rows(connection, query)


async def _keep_received(
    connection: AsyncConnection, added: list[dict[str, Any]], received: dict[Key, SeqRanges]
) -> None:
    """Write down what these rows added, in the transaction that adds them."""
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
    """The database's own name of the constraint's kind."""
    return str(getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", ""))
