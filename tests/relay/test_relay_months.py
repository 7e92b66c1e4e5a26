"""Chunks by month on PostgreSQL: nothing lost on the way in or back, one table read, none refused for want of one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.cluster.leases import unfenced
from relay.db import months
from relay.db.engine import database_url, migrate, open_engine
from relay.db.models import BEFORE
from relay.errors import StoreUnavailable
from relay.scg.store import Store
from tests.databases import with_tables, writing
from tests.peers_postgres import Postgres
from tests.relay.chunks import PER, begin, chunks, column, message, run, stored_before_months, to_revision

OLD = date(2020, 2, 1)


@pytest.fixture
async def partitioned(postgres: Postgres) -> AsyncIterator[AsyncEngine]:
    async with with_tables(postgres.database()) as found:
        yield found


@pytest.fixture(params=["postgres", "timescale"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[AsyncEngine]:
    """Of partitions, and of a hypertable."""
    async with with_tables(request.getfixturevalue(request.param).database()) as found:
        yield found


async def tables(engine: AsyncEngine) -> list[date]:
    async with engine.connect() as connection:
        return await connection.run_sync(months.months)


async def month_of(engine: AsyncEngine, session: str) -> date:
    return (await column(engine, f"SELECT month FROM scg_sessions WHERE id = '{session}'"))[0]


async def table_of(engine: AsyncEngine, month: date) -> str:
    """Without its schema, as plans say it."""
    async with engine.connect() as connection:
        return (await connection.run_sync(months.table_of, month)).split(".")[-1]


async def without_months(engine: AsyncEngine) -> set[date]:
    """Those that were there."""
    async with engine.begin() as connection:
        there = await connection.run_sync(months.months)
        for month in there:
            await connection.run_sync(_dropped, month)
    return set(there) - {BEFORE}


def _dropped(connection: sa.Connection, month: date) -> None:
    months.layout_of(connection).drop(connection, month)


async def old_month(engine: AsyncEngine) -> str:
    """A session of long ago, with a table of its month."""
    session = str(uuid4())
    async with engine.begin() as connection:
        await connection.run_sync(months.make_one, OLD)
    values = {"id": session, "month": OLD}
    await run(engine, "INSERT INTO scg_sessions (id, started_at_ms, month) VALUES (:id, 1, :month)", **values)
    return session


# -- there and back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_rows_come_through_and_go_back_as_they_were(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = "" if kind == "sqlite" else request.getfixturevalue("postgres").database(bare=True)
    engine = open_engine(database_url(url, tmp_path))
    await to_revision(engine, "0014", up=True)
    sessions = [str(uuid4()) for _ in range(3)]
    await stored_before_months(engine, sessions)
    before = await chunks(engine)
    await migrate(engine)
    assert await chunks(engine) == before
    new = str(uuid4())
    async with writing(engine) as (store, writer):
        writer.submit(begin(new))
        for session in (sessions[0], new):
            for seq in (3, 4):
                writer.submit(message(session, seq))
        await writer.drained()
        assert [await store.count(session) for session in (*sessions, new)] == [10 * PER, 9 * PER, 9 * PER, 2 * PER]
        assert (await store.seen(sessions[0]))["b"].ranges() == [[1, 4]]
        assert await store.compact(sessions[1]) == 6
    after = await chunks(engine)
    assert len({row[0] for row in after}) == len(after), "a number was given twice"
    await to_revision(engine, "0014", up=False)
    assert await chunks(engine) == after
    with pytest.raises(IntegrityError):
        await run(engine, "INSERT INTO scg_chunks SELECT * FROM scg_chunks")
    await migrate(engine)
    assert await chunks(engine) == after
    async with writing(engine) as (store, writer):
        assert [await store.count(session) for session in (*sessions, new)] == [10 * PER, 9 * PER, 9 * PER, 2 * PER]
    await run(engine, "DELETE FROM scg_sessions")
    assert await chunks(engine) == []
    await engine.dispose()


# -- one table -----------------------------------------------------------------------------------------------------


async def test_a_session_is_read_from_the_one_table_of_its_month(engine: AsyncEngine) -> None:
    old, new, asked = await old_month(engine), str(uuid4()), list[tuple[str, Any]]()

    def hear(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if "FROM scg_chunks" in statement:
            asked.append((statement, values))

    async with writing(engine) as (store, writer):
        writer.submit(begin(new))
        for session in (old, new):
            for seq in range(1, 6):
                writer.submit(message(session, seq))
                await writer.drained()
        for session, month in ((old, OLD), (new, await month_of(engine, new))):
            asked.clear()
            sa.event.listen(engine.sync_engine, "before_cursor_execute", hear)
            await store.samples(session)
            await store.since(session, None, 1000.0)
            await store.count(session)
            await store.compact(session)
            sa.event.remove(engine.sync_engine, "before_cursor_execute", hear)
            assert len(asked) >= 6
            for statement, values in asked:
                one = values[0] if isinstance(values, list) else values
                assert await _touched(engine, statement, one) == {await table_of(engine, month)}, statement


async def _touched(engine: AsyncEngine, statement: str, values: Any) -> set[str]:
    async with engine.connect() as connection:
        plan = await connection.exec_driver_sql(f"EXPLAIN (COSTS OFF) {statement}", values)
        words = " ".join(plan.scalars()).split()
    return {word for before, word in pairwise(words) if before == "on" and word != "scg_chunks"}


async def test_a_session_cannot_be_of_two_months(engine: AsyncEngine) -> None:
    """So that the key, which on a partitioned table must name the month, guards as it did without."""
    old = await old_month(engine)
    async with writing(engine) as (_, writer):
        writer.submit(message(old, 1))
        await writer.drained()
    other = "session_id, boot, first_seq + 1, samples, t_min, t_max, body, '2020-03-01' FROM scg_chunks"
    names = "session_id, boot, first_seq, samples, t_min, t_max, body, month"
    with pytest.raises(IntegrityError):
        await run(engine, f"INSERT INTO scg_chunks ({names}) SELECT {other}")
    with pytest.raises(IntegrityError):
        await run(engine, f"INSERT INTO scg_chunks ({names}) SELECT {names} FROM scg_chunks")
    with pytest.raises(IntegrityError):
        await run(engine, "UPDATE scg_sessions SET month = '2020-03-01'")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_small_chunks_are_found_without_looking_at_all(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = "" if kind == "sqlite" else request.getfixturevalue("postgres").database()
    engine = open_engine(database_url(url, tmp_path))
    await migrate(engine)
    query = str(Store.small().compile(engine.sync_engine, compile_kwargs={"render_postcompile": True}))
    async with engine.connect() as connection:
        if kind == "postgresql":
            await connection.execute(sa.text("SET enable_seqscan = off"))
        explain = "EXPLAIN" if kind == "postgresql" else "EXPLAIN QUERY PLAN"
        plan = (await connection.exec_driver_sql(f"{explain} {query}")).all()
    lines = [str(row[-1]) for row in plan]
    assert not [line for line in lines if "Seq Scan" in line or line == "SCAN scg_chunks"], lines
    assert [line for line in lines if "small" in line or "session_id_idx" in line], lines
    await engine.dispose()


# -- made and dropped ----------------------------------------------------------------------------------------------


async def test_several_relays_make_the_same_months_at_once_while_samples_come(engine: AsyncEngine) -> None:
    there = await without_months(engine)
    relays = [open_engine(engine.url) for _ in range(4)]
    session, acknowledged = str(uuid4()), list[int]()
    async with writing(engine) as (store, writer):
        writer.submit(begin(session))
        await writer.drained()
        making = asyncio.gather(*(_tries(relay) for relay in relays), *(migrate(one) for one in relays))
        for seq in range(1, 41):
            writer.submit(message(session, seq, done=partial(acknowledged.append, seq)))
            await asyncio.sleep(0.002)
        await making
        await writer.drained()
        assert acknowledged == list(range(1, 41))
        assert await store.count(session) == 40 * PER
    for relay in relays:
        await months.keep(relay, unfenced)
        await relay.dispose()
    held = set(await column(engine, "SELECT DISTINCT month FROM scg_chunks"))
    assert {*await tables(engine), *held} >= there


async def _tries(relay: AsyncEngine) -> None:
    """As in its hourly round: who finds another at it for too long comes again."""
    with contextlib.suppress(StoreUnavailable):
        await months.keep(relay, unfenced)


async def test_what_has_no_table_of_its_month_lies_in_the_default_one(partitioned: AsyncEngine) -> None:
    await without_months(partitioned)
    session = str(uuid4())
    async with writing(partitioned) as (store, writer):
        writer.submit(begin(session))
        for seq in range(1, 6):
            writer.submit(message(session, seq))
            await writer.drained()
        assert await column(partitioned, "SELECT count(*) FROM scg_chunks_default") == [5]
        await months.keep(partitioned, unfenced)
        present = await month_of(partitioned, session)
        assert present not in await tables(partitioned)
        writer.submit(message(session, 6))
        writer.submit(message(session, 2))
        await writer.drained()
        assert await store.compact(session) == 5
        assert await store.count(session) == 6 * PER
        await run(partitioned, "DELETE FROM scg_sessions")
        await months.keep(partitioned, unfenced)
        assert present in await tables(partitioned)


async def test_a_month_is_dropped_when_it_is_over_and_nothing_is_left(engine: AsyncEngine) -> None:
    old = await old_month(engine)
    async with writing(engine) as (store, writer):
        writer.submit(message(old, 1))
        await writer.drained()
        await months.keep(engine, unfenced)
        left = await tables(engine)
        assert left[0] == OLD
        assert len(left) > 1 + months.AHEAD, "empty months of the present and the future stay"
        await run(engine, "DELETE FROM scg_chunks")
        await months.keep(engine, unfenced)
        assert await tables(engine) == left[1:]
        writer.submit(message(old, 2))
        await writer.drained()
        assert await store.count(old) == PER
        assert await column(engine, "SELECT month FROM scg_chunks") == [OLD]


async def test_who_drops_a_month_gives_way_to_who_reads_it(engine: AsyncEngine) -> None:
    await old_month(engine)
    async with engine.connect() as reading:
        await reading.execute(sa.text("SELECT count(*) FROM scg_chunks"))
        with contextlib.suppress(StoreUnavailable):
            await months.keep(engine, unfenced)
        assert OLD in await tables(engine)
    await months.keep(engine, unfenced)
    assert OLD not in await tables(engine)


# -- nothing is acknowledged that is not stored --------------------------------------------------------------------


async def test_an_older_relay_beside_is_told_to_try_again_not_that_it_is_stored(engine: AsyncEngine) -> None:
    session = str(uuid4())
    await run(engine, "INSERT INTO scg_sessions (id, started_at_ms) VALUES (:id, 1)", id=session)
    chunk = "INSERT INTO scg_chunks (session_id, samples, t_min, t_max, body) VALUES (:id, 1, 1, 1, '')"
    with pytest.raises(DBAPIError, match="older than its database") as refused:
        await run(engine, chunk, id=session)
    assert not isinstance(refused.value, IntegrityError)


async def test_a_table_that_is_away_keeps_a_message_waiting(partitioned: AsyncEngine) -> None:
    """A broken constraint is no proof that something is stored."""
    session, acknowledged = str(uuid4()), asyncio.Event()
    async with writing(partitioned) as (store, writer):
        writer.submit(begin(session))
        await writer.drained()
        await without_months(partitioned)
        await run(partitioned, "ALTER TABLE scg_chunks DETACH PARTITION scg_chunks_default")
        writer.submit(message(session, 1, done=acknowledged.set))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drained(), 0.5)
        assert not acknowledged.is_set()
        await run(partitioned, "ALTER TABLE scg_chunks ATTACH PARTITION scg_chunks_default DEFAULT")
        await asyncio.wait_for(writer.drained(), 30)
        assert acknowledged.is_set()
        assert await store.count(session) == PER


async def test_what_comes_late_for_a_recording_that_was_removed_keeps_nobody_waiting(engine: AsyncEngine) -> None:
    session = str(uuid4())
    async with writing(engine) as (store, writer):
        for boot in ("b", None):
            writer.submit(message(session, 1, boot))
        await asyncio.wait_for(writer.drained(), 30)
        assert await store.count(session) == 0
