"""One database, several relays: each message is there once, whoever stores it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from core.contracts.scg import Columns
from relay.db.engine import database_url, open_engine
from relay.process.metrics import Metrics
from relay.scg.entries import Entry, Session
from relay.scg.store import Store
from relay.scg.writer import Writer
from tests.databases import with_tables, writing
from tests.peers_postgres import Postgres

SESSION = "0b9a4a3e-52f1-4f0f-8a51-5f0f3e1a7c11"
RELAYS, MESSAGES, PER = 4, 60, 5


class OneOfThem(NamedTuple):
    """A relay's store and writer, on a database that others write to as well."""

    engine: AsyncEngine
    store: Store
    writer: Writer


@asynccontextmanager
async def opened(url: str, every_s: float = 0.01) -> AsyncIterator[OneOfThem]:
    async with with_tables(url) as engine, writing(engine, every_s=every_s) as (store, writer):
        yield OneOfThem(engine, store, writer)


def batch(seq: int) -> Columns:
    t = np.arange(PER, dtype=float) * 10 + seq * PER * 10
    return Columns(t=t, ax=t * 0, ay=t * 0, az=t / 7)


def message(seq: int, boot: str = "b") -> Entry:
    return Entry(session=SESSION, done=lambda: None, columns=batch(seq), boot=boot, seq=seq)


def begin(kit: str = "kit") -> Entry:
    session = Session(id=SESSION, started_at_ms=1.0, kit=kit)
    return Entry(session=SESSION, done=lambda: None, put=session, begins=True)


async def test_all_relays_store_the_same_and_it_is_there_once(postgres: Postgres) -> None:
    url = postgres.database()
    async with contextlib.AsyncExitStack() as stack:
        relays = [await stack.enter_async_context(opened(url)) for _ in range(RELAYS)]
        for turn, relay in enumerate(relays):
            relay.writer.submit(begin())
            order = [(seq * 7 + turn * 13) % MESSAGES + 1 for seq in range(MESSAGES)]
            for number, seq in enumerate(order):
                relay.writer.submit(message(seq))
                if number % 10 == turn:
                    await asyncio.sleep(0.005)
        await asyncio.gather(*(relay.writer.drained() for relay in relays))
        whole = await relays[0].store.samples(SESSION)
        assert whole is not None
        assert whole.t.tolist() == [float(t) for t in range(PER * 10, (MESSAGES + 1) * PER * 10, 10)]
        assert (await relays[1].store.seen(SESSION))["b"].ranges() == [[1, MESSAGES]]
        assert await relays[2].store.count(SESSION) == MESSAGES * PER


async def test_what_the_database_cannot_keep_holds_up_nothing_else(postgres: Postgres) -> None:
    done: list[int] = []
    async with opened(postgres.database()) as (_, store, writer):
        writer.submit(begin())
        for seq, boot in enumerate(("b", "\0", "b"), 1):
            told = partial(done.append, seq)
            writer.submit(Entry(session=SESSION, done=told, columns=batch(seq), boot=boot, seq=seq))
        await asyncio.wait_for(writer.drained(), 30)
        assert done == [1, 3]
        assert await store.count(SESSION) == 2 * PER


async def test_two_relays_that_join_rows_at_once_double_nothing(postgres: Postgres) -> None:
    url = postgres.database()
    async with opened(url, 0.0) as one, opened(url, 0.0) as two:
        one.writer.submit(begin())
        for seq in range(1, 31):
            one.writer.submit(message(seq))
            await one.writer.drained()
        await asyncio.gather(one.store.compact(SESSION), two.store.compact(SESSION), one.store.compact(SESSION))
        whole = await two.store.samples(SESSION)
        assert whole is not None
        assert len(whole) == 30 * PER
        one.writer.submit(message(7))
        await one.writer.drained()
        assert await two.store.count(SESSION) == 30 * PER


async def test_who_comes_late_does_not_undo_what_is_known_of_a_session(postgres: Postgres) -> None:
    url = postgres.database()
    async with opened(url) as one, opened(url) as two:
        one.writer.submit(begin())
        known = Session(id=SESSION, started_at_ms=5.0, kit="kit", unit="g")
        one.writer.submit(Entry(session=SESSION, done=lambda: None, put=known))
        await one.writer.drained()
        two.writer.submit(begin())
        await two.writer.drained()
        assert await two.store.session(SESSION) == known


async def test_what_is_long_over_is_read_from_the_replica_and_from_the_database_when_that_is_away(
    postgres: Postgres,
) -> None:
    url = postgres.database()
    name = url.rsplit("/", 1)[1]
    async with opened(url) as (engine, _, writer):
        writer.submit(begin())
        writer.submit(message(1))
        await writer.drained()
        await engine.dispose()
        postgres.sql(f"CREATE DATABASE {name}_replica TEMPLATE {name}", "postgres")
        writer.submit(message(2))
        await writer.drained()
        for replica, over, expected in (
            (f"{url}_replica", True, 1),
            (f"{url}_replica", False, 2),
            (f"{url}_no", True, 2),
        ):
            history = open_engine(database_url(replica, Path()))
            reading = Store(engine, Metrics(), history=history)
            whole = await reading.samples(SESSION, over=over)
            assert whole is not None
            assert len(whole) == expected * PER
            await history.dispose()
