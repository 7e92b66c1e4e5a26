"""Chunks in a TimescaleDB hypertable: used where it is, asked for where samples are stored, and nothing lost by it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.db import hypertables, months
from relay.db.engine import database_url, migrate, open_engine, unhurried
from tests.databases import with_tables, writing
from tests.peers import REPO_ROOT
from tests.peers_postgres import Postgres
from tests.peers_timescale import Timescale
from tests.relay.chunks import PER, begin, chunks, column, message, run, stored_before_months, to_revision


@pytest.fixture
async def stored(timescale: Timescale) -> AsyncIterator[tuple[AsyncEngine, list[str]]]:
    """A database with samples in partitions, to which TimescaleDB came later."""
    engine, sessions = open_engine(database_url(timescale.database(), Path())), [str(uuid4()) for _ in range(3)]
    await to_revision(engine, "0014", up=True)
    await stored_before_months(engine, sessions)
    await migrate(engine)
    yield engine, sessions
    await engine.dispose()


async def used(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        return await connection.run_sync(hypertables.used)


async def convert(engine: AsyncEngine) -> int:
    async with unhurried(engine) as waiting, waiting.begin() as connection:
        return await connection.run_sync(hypertables.convert, lambda *_: None)


def asked(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`homeside recordings hypertables` for the relay of that database."""
    (folder / "data").mkdir(exist_ok=True)
    config = folder / "relay.toml"
    config.write_text(f'database_url = "{url}"\n' if url else "")
    words = ["recordings", "hypertables", "--data", str(folder / "data"), "--config", str(config)]
    command = [sys.executable, "-m", "homeside", *words]
    return subprocess.run(command, cwd=REPO_ROOT, capture_output=True, text=True, check=False)


def url_of(engine: AsyncEngine) -> str:
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


async def test_a_new_database_that_has_it_uses_it_however_many_relays_start(timescale: Timescale) -> None:
    url = timescale.database()
    engines = [open_engine(database_url(url, Path())) for _ in range(3)]
    await asyncio.gather(*map(migrate, engines))
    assert await used(engines[0])
    assert await column(engines[0], "SELECT count(*) FROM timescaledb_information.hypertables") == [1]
    for engine in engines:
        await engine.dispose()


async def test_what_is_stored_is_copied_only_when_it_is_asked_for(
    stored: tuple[AsyncEngine, list[str]], tmp_path: Path
) -> None:
    engine, sessions = stored
    before = await chunks(engine)
    assert not await used(engine)
    done = await asyncio.to_thread(asked, url_of(engine), tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{len(before)} chunks copied" in done.stdout
    assert await used(engine)
    assert await chunks(engine) == before
    async with writing(engine) as (store, writer):
        for seq in (3, 4):
            writer.submit(message(sessions[0], seq))
        await writer.drained()
        assert await store.count(sessions[0]) == 10 * PER
        assert await store.compact(sessions[1]) == 6
    after = await chunks(engine)
    assert len({row[0] for row in after}) == len(after), "a number was given twice"
    again = await asyncio.to_thread(asked, url_of(engine), tmp_path)
    assert "0 chunks copied" in again.stdout
    await to_revision(engine, "0014", up=False)
    assert await chunks(engine) == after
    await migrate(engine)
    assert await chunks(engine) == after


async def test_copied_while_samples_come_none_is_lost_or_twice(stored: tuple[AsyncEngine, list[str]]) -> None:
    engine, acknowledged = stored[0], list[int]()
    session = str(uuid4())
    async with writing(engine) as (store, writer):
        writer.submit(begin(session))
        copying = asyncio.create_task(convert(engine))
        for seq in range(1, 61):
            writer.submit(message(session, seq, done=partial(acknowledged.append, seq)))
            await asyncio.sleep(0.005)
        await copying
        await asyncio.wait_for(writer.drained(), 60)
        assert await used(engine)
        assert acknowledged == list(range(1, 61))
        assert await store.count(session) == 60 * PER


async def test_it_guards_as_partitions_do(stored: tuple[AsyncEngine, list[str]]) -> None:
    engine, sessions = stored
    await convert(engine)
    names = "session_id, boot, first_seq, samples, t_min, t_max, body, month"
    with pytest.raises(IntegrityError):
        await run(engine, f"INSERT INTO scg_chunks ({names}) SELECT {names} FROM scg_chunks")
    older = "INSERT INTO scg_chunks (session_id, samples, t_min, t_max, body) VALUES (:id, 1, 1, 1, '')"
    with pytest.raises(DBAPIError, match="older than its database") as refused:
        await run(engine, older, id=sessions[0])
    assert not isinstance(refused.value, IntegrityError)
    await run(engine, "DELETE FROM scg_sessions")
    assert await chunks(engine) == []


async def test_a_database_in_another_time_zone_has_the_same_months(timescale: Timescale) -> None:
    url = timescale.database()
    timescale.sql(f"ALTER DATABASE {url.rsplit('/', 1)[-1]} SET timezone = 'America/New_York'", "postgres")
    async with with_tables(url) as engine, engine.connect() as connection:
        found = await connection.run_sync(months.months)
    assert found[0] in {date(now.year, now.month, 1) for now in (datetime.now(UTC),)} | {months.following(found[0])}
    assert [one.day for one in found] == [1] * (1 + months.AHEAD)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_where_it_is_not_the_command_says_what_to_do(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    server: Postgres | None = request.getfixturevalue("postgres") if kind == "postgresql" else None
    done = asked(server.database() if server else "", tmp_path)
    assert done.returncode == 2
    assert "CREATE EXTENSION timescaledb" in done.stderr
