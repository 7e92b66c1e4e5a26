"""Chunks on PostgreSQL in a table per month, compared with a hypertable, one table, and sixteen hash partitions: same
rows, same program. A month of which nothing is to stay is removed at once; elsewhere it is removed recording by
recording, followed by the VACUUM that makes its space usable again. "Bare statement" is one statement that reads one
table.

`python -m tests.bench.bench_months`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from functools import cache, partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import asyncpg
import numpy as np
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from core.contracts.columns import pack
from core.contracts.scg import Columns
from relay.cluster.leases import unfenced
from relay.db import months
from relay.db.engine import database_url, migrate, open_engine
from relay.db.models import scg_chunks
from relay.process.metrics import Metrics
from relay.retention.rules import Fate
from relay.retention.store import RetentionStore
from relay.scg.chunks import in_order
from relay.scg.entries import Entry, Session
from relay.scg.store import Store
from relay.scg.writer import Writer
from tests.bench.rows import Row, show
from tests.peers_timescale import Timescale

MONTHS, RECORDINGS, CHUNKS, SAMPLES = 6, 60, 200, 3_000
"""Half a minute a chunk: a hundred minutes a recording."""
SENDING, MESSAGES, EACH = 50, 40, 100
TURNS, READS = 7, 60
SETTINGS = ("shared_buffers=256MB", "max_wal_size=8GB", "autovacuum=off")
OURS, HYPER, ONE, HASHED = "a table a month", "a hypertable", "one table", "16 by hash"
BARE = "bare statement, one table"
MONTH = [date(2020, 1 + k, 1) for k in range(MONTHS)]
NAMES = ("session_id", "boot", "first_seq", "samples", "t_min", "t_max", "body", "month")
PLAIN = (
    "DROP TABLE scg_chunks",
    "CREATE TABLE scg_chunks (id BIGSERIAL, session_id VARCHAR(36) NOT NULL, boot VARCHAR(64), first_seq BIGINT, "
    "seqs JSON, samples INTEGER NOT NULL, t_min FLOAT NOT NULL, t_max FLOAT NOT NULL, body BYTEA NOT NULL, clock JSON, "
    "month DATE NOT NULL) {partition}",
    "ALTER TABLE scg_chunks ADD PRIMARY KEY (id{key})",
    "ALTER TABLE scg_chunks ADD UNIQUE (session_id, boot, first_seq)",
    "ALTER TABLE scg_chunks ADD FOREIGN KEY (session_id) REFERENCES scg_sessions (id) ON DELETE CASCADE",
    "CREATE INDEX ON scg_chunks (session_id, t_min)",
    "CREATE INDEX ON scg_chunks (session_id) WHERE samples < 3000",
)


def rows() -> list[Row]:
    server = Timescale(SETTINGS)
    server.start()
    try:
        return asyncio.run(_measured(server))
    finally:
        server.remove()


async def _measured(server: Timescale) -> list[Row]:
    sessions = [[str(uuid4()) for _ in range(RECORDINGS)] for _ in MONTH]
    urls = {kind: server.database(bare=kind != HYPER) for kind in (OURS, HYPER, ONE, HASHED)}
    found = {kind: await _filled(url, kind, sessions) for kind, url in urls.items()}
    stored = await _in_turns({kind: partial(_stored, engine) for kind, engine in found.items()}, TURNS)
    every = [session for of_month in sessions for session in of_month]
    reading = {kind: _timed(Store(engine, Metrics()).samples, every) for kind, engine in found.items()}
    read = await _in_turns(reading | {BARE: _timed(partial(_bare, found[ONE]), every)}, READS)
    removed = {kind: await _removed(engine, kind, sessions[0]) for kind, engine in found.items()}
    for engine in found.values():
        await engine.dispose()
    table = [
        *_beside("samples stored, 50 sessions at once", "1/s", stored),
        *_beside(f"a recording of {CHUNKS} chunks read", "ms", read),
        Row(f"a recording of {CHUNKS} chunks read", read[OURS], "ms", BARE, read[BARE]),
    ]
    what = f"an old month removed ({RECORDINGS * CHUNKS:,} chunks)"
    for number, (name, unit) in enumerate(
        (("", "s"), (": written to the log", "MB"), (": given back to the disk", "MB"))
    ):
        table += _beside(what + name, unit, {kind: figures[number] for kind, figures in removed.items()})
    return table


def _beside(name: str, unit: str, found: dict[str, float]) -> list[Row]:
    return [Row(name, found[OURS], unit, peer, found[peer]) for peer in (HYPER, ONE, HASHED)]


async def _in_turns(works: Mapping[str, Callable[[], Awaitable[float]]], turns: int) -> dict[str, float]:
    """The median of some turns, taken one after the other, so that other work meets all of them."""
    found: dict[str, list[float]] = {kind: [] for kind in works}
    for _ in range(turns):
        for kind, work in works.items():
            found[kind].append(await work())
    return {kind: median(figures) for kind, figures in found.items()}


async def _filled(url: str, kind: str, sessions: list[list[str]]) -> AsyncEngine:
    engine = open_engine(database_url(url, Path()))
    await migrate(engine)
    async with engine.begin() as connection:
        if kind in (OURS, HYPER):
            for month in MONTH:
                await connection.run_sync(months.make_one, month)
        else:
            await _plainly(connection, hashed=kind == HASHED)
    connection = await asyncpg.connect(url)
    for month, of_month in zip(MONTH, sessions, strict=True):
        begun = [(session, 1.0, month) for session in of_month]
        await connection.copy_records_to_table("scg_sessions", records=begun, columns=["id", "started_at_ms", "month"])
        chunks = [(session, "b", seq, *_chunk(seq), month) for session in of_month for seq in range(CHUNKS)]
        await connection.copy_records_to_table("scg_chunks", records=chunks, columns=NAMES)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()
    return engine


async def _plainly(connection: Any, *, hashed: bool) -> None:
    said = {"partition": "PARTITION BY HASH (session_id)" if hashed else "", "key": ", session_id" if hashed else ""}
    for statement in PLAIN:
        await connection.execute(sa.text(statement.format(**said)))
    for number in range(16 if hashed else 0):
        part = f"CREATE TABLE part_{number} PARTITION OF scg_chunks FOR VALUES WITH (MODULUS 16, REMAINDER {number})"
        await connection.execute(sa.text(part))


_noise = np.random.default_rng(5)


@cache
def _chunk(seq: int) -> tuple[int, float, float, bytes]:
    samples = _samples(SAMPLES, seq * SAMPLES)
    return SAMPLES, float(samples.t[0]), float(samples.t[-1]), pack(samples)


def _samples(count: int, first: int = 0) -> Columns:
    ax, ay, az = (np.round(_noise.normal(0, 0.02, count), 3) for _ in range(3))
    return Columns(t=(np.arange(count) + first) * 10.0, ax=ax, ay=ay, az=az)


async def _stored(engine: AsyncEngine) -> float:
    writer = Writer(Store(engine, Metrics()).keep, Metrics(), max_samples=10**7, commit_every_s=0.05)
    sessions = [str(uuid4()) for _ in range(SENDING)]
    part = _samples(EACH)
    writing = asyncio.create_task(writer.run())
    began = time.perf_counter()
    for session in sessions:
        put = Session(id=session, started_at_ms=1.0)
        writer.submit(Entry(session=session, done=_nothing, put=put, begins=True))
    for seq in range(MESSAGES):
        for session in sessions:
            writer.submit(Entry(session=session, done=_nothing, columns=part, boot="b", seq=seq))
        await writer.drained()
    took = time.perf_counter() - began
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    return SENDING * MESSAGES * EACH / took


def _nothing() -> None:
    """Nobody waits for it."""


async def _bare(engine: AsyncEngine, session: str) -> Columns:
    query = sa.select(scg_chunks.c.body).where(scg_chunks.c.session_id == session).order_by(scg_chunks.c.id)
    async with engine.connect() as connection:
        bodies = list((await connection.execute(query)).scalars())
    return await asyncio.to_thread(in_order, bodies)


def _timed(read: Callable[[str], Awaitable[Any]], sessions: list[str]) -> Callable[[], Awaitable[float]]:
    """Milliseconds to read one recording, each time the next."""
    coming = cycle(sessions)

    async def once() -> float:
        session, began = next(coming), time.perf_counter()
        await read(session)
        return (time.perf_counter() - began) * 1000

    return once


async def _removed(engine: AsyncEngine, kind: str, sessions: list[str]) -> tuple[float, float, float]:
    """Seconds, MB written ahead, and MB of the disk given back."""
    store, size = RetentionStore(engine), await _number(engine, _SIZE)
    log, began = await _number(engine, _LOG), time.perf_counter()
    if kind in (OURS, HYPER):
        whole = await store.whole(MONTH[0], lambda _: Fate.REMOVE)
        assert whole is not None
        assert await store.remove_month(whole, unfenced)
        await months.keep(engine, unfenced)
    else:
        for session in sessions:
            assert await store.remove(session, lambda _: Fate.REMOVE, unfenced)
        async with engine.connect() as connection:
            alone = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await alone.execute(sa.text("VACUUM scg_chunks"))
    took = time.perf_counter() - began
    written = await _number(engine, _LOG) - log
    freed = size - await _number(engine, _SIZE)
    return took, written / 1e6, freed / 1e6


_LOG = "SELECT pg_current_wal_insert_lsn() - '0/0'"
_SIZE = (
    "SELECT pg_total_relation_size('scg_chunks') + coalesce(sum(pg_total_relation_size(inhrelid)), 0) "
    "FROM pg_inherits WHERE inhparent = 'scg_chunks'::regclass"
)


async def _number(engine: AsyncEngine, query: str) -> float:
    async with engine.connect() as connection:
        return float((await connection.execute(sa.text(query))).scalar_one() or 0)


if __name__ == "__main__":
    show("Months", rows())
