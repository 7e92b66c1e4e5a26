"""How long recordings are kept: by policy alone, never one that is held or awaits its review, on either database."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from core.contracts.scg import Columns
from relay.cluster.leases import unfenced
from relay.db import months
from relay.db.engine import database_url, migrate, open_engine
from relay.db.models import scg_chunks, scg_holds, scg_received, scg_sessions
from relay.db.months import make_one, table_of
from relay.db.physio import exercise_sessions, patients, physiotherapists, session_kits, session_reviews, users
from relay.errors import LeaseLost, SessionNotFound
from relay.process.metrics import Metrics
from relay.retention.rules import DAY_MS, Fate, Policy, Recording, due, fate, thinned
from relay.retention.service import Retention
from relay.retention.store import RetentionStore
from relay.scg.entries import Entry, Session
from relay.scg.store import Store
from tests.databases import writer_of
from tests.peers_postgres import Postgres

NOW = 1.8e12
HZ = 100.0


def columns(begin_ms: float, seconds: float, hz: float = HZ) -> Columns:
    t = begin_ms + np.arange(int(seconds * hz)) * 1000 / hz
    return Columns(t=t, ax=t * 0, ay=np.sin(t / 500), az=t / 1e6)


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres").database()
    found = open_engine(database_url(url, tmp_path))
    await migrate(found)
    yield found
    await found.dispose()


async def record(
    engine: AsyncEngine,
    days_ago: float,
    *,
    kit: str = "kit",
    ended: bool = True,
    session: str | None = None,
    boot: str = "b",
) -> str:
    """Ten seconds in two messages; its id."""
    session, begin = session or str(uuid4()), NOW - days_ago * DAY_MS
    writer = writer_of(Store(engine, Metrics()))
    writing = asyncio.create_task(writer.run())
    row = Session(id=session, started_at_ms=begin, kit=kit)
    writer.submit(Entry(session=session, done=lambda: None, put=row, begins=True))
    for seq in (1, 2):
        part = columns(begin + (seq - 1) * 5000, 5)
        writer.submit(Entry(session=session, done=lambda: None, columns=part, boot=boot, seq=seq))
        await writer.drained()
    if ended:
        writer.submit(Entry(session=session, done=lambda: None, ended_at_ms=begin + 10_000))
    await writer.drained()
    writing.cancel()
    return session


async def exercise(engine: AsyncEngine, kit: str, days_ago: float, *, reviewed: bool) -> None:
    """Somebody exercised before this kit for an hour, so long ago."""
    ids = {name: str(uuid4()) for name in ("user", "patient", "physio", "session")}
    begun = datetime.fromtimestamp((NOW - days_ago * DAY_MS) / 1000 - 1800, UTC)
    ended = datetime.fromtimestamp((NOW - days_ago * DAY_MS) / 1000 + 1800, UTC)
    async with engine.begin() as connection:
        user = {"id": ids["user"], "email": f"{ids['user']}@x", "password_hash": "", "role": "patient"}
        await connection.execute(sa.insert(users).values(**user, first_name="a", last_name="b"))
        await connection.execute(sa.insert(patients).values(id=ids["patient"], user_id=ids["user"]))
        await connection.execute(sa.insert(physiotherapists).values(id=ids["physio"], user_id=ids["user"]))
        planned = {"id": ids["session"], "patient_id": ids["patient"]}
        planned |= {"scheduled_datetime": begun, "status": "completed", "physiotherapist_id": ids["physio"]}
        await connection.execute(sa.insert(exercise_sessions).values(**planned))
        assigned = {"session_id": ids["session"], "kit": kit, "assigned_at": begun, "ended_at": ended}
        await connection.execute(sa.insert(session_kits).values(**assigned))
        if reviewed:
            await _review(connection, ids["session"], ids["physio"])


async def _review(connection: AsyncConnection, session: str, physio: str) -> None:
    await connection.execute(
        sa.insert(session_reviews).values(session_id=session, physiotherapist_id=physio, notes="seen")
    )


async def sweep(engine: AsyncEngine, policy: Policy) -> None:
    await Retention(RetentionStore(engine), policy, lambda: NOW, Metrics()).sweep(unfenced)


async def kept(engine: AsyncEngine) -> dict[str, int]:
    """Samples by recording."""
    query = sa.select(scg_sessions.c.id, sa.func.coalesce(sa.func.sum(scg_chunks.c.samples), 0))
    query = query.outerjoin(scg_chunks, scg_chunks.c.session_id == scg_sessions.c.id).group_by(scg_sessions.c.id)
    async with engine.connect() as connection:
        return {row[0]: int(row[1]) for row in await connection.execute(query)}


async def test_without_a_policy_nothing_is_ever_removed(engine: AsyncEngine) -> None:
    old = await record(engine, 5000)
    await sweep(engine, Policy())
    assert await kept(engine) == {old: 1000}


async def test_what_is_old_goes_with_everything_of_it(engine: AsyncEngine) -> None:
    old, young = await record(engine, 31), await record(engine, 29)
    open_ = await record(engine, 40, ended=False)
    await sweep(engine, Policy(remove_days=30))
    assert await kept(engine) == {young: 1000}
    async with engine.connect() as connection:
        left = {row[0] for row in await connection.execute(sa.select(scg_received.c.session_id))}
    assert not left & {old, open_}


async def test_a_held_recording_stays_until_it_is_released(engine: AsyncEngine) -> None:
    old, store = await record(engine, 31), RetentionStore(engine)
    await store.hold(old, "anna", "complaint", NOW)
    await store.hold(old, "anna", "complaint, again", NOW)
    assert [(one["session_id"], one["why"]) for one in await store.holds()] == [(old, "complaint, again")]
    policy = Policy(remove_days=30, thin_days=1)
    await sweep(engine, policy)
    assert await kept(engine) == {old: 1000}
    assert await store.release(old)
    assert not await store.release(old)
    await sweep(engine, policy)
    assert await kept(engine) == {}
    with pytest.raises(SessionNotFound):
        await store.hold(old, "anna", "too late", NOW)


async def test_what_awaits_review_is_spared_unless_the_policy_says_how_long(engine: AsyncEngine) -> None:
    awaits, seen, other = [await record(engine, 31, kit=kit) for kit in ("k-1", "k-2", "k-3")]
    await exercise(engine, "k-1", 31, reviewed=False)
    await exercise(engine, "k-2", 31, reviewed=True)
    await exercise(engine, "k-3", 20, reviewed=False)
    await sweep(engine, Policy(remove_days=30))
    assert await kept(engine) == {awaits: 1000}
    await sweep(engine, Policy(remove_days=30, spare_days=2))
    assert await kept(engine) == {awaits: 1000}
    await sweep(engine, Policy(remove_days=30, spare_days=0.5))
    assert await kept(engine) == {}
    assert len({awaits, seen, other}) == 3


async def test_an_old_recording_is_thinned_once_and_says_so(engine: AsyncEngine) -> None:
    old, young = await record(engine, 31), await record(engine, 1)
    for _ in range(2):
        await sweep(engine, Policy(thin_days=30, thin_hz=25))
        assert await kept(engine) == {old: 250, young: 1000}
    store = Store(engine, Metrics())
    found, session = await store.samples(old), await store.session(old)
    assert found is not None
    assert session is not None
    assert session.thinned_hz == 25
    whole = columns(NOW - 31 * DAY_MS, 10)
    assert found.t == pytest.approx(whole.t.reshape(-1, 4).mean(axis=1), abs=0.01)
    assert found.ay == pytest.approx(whole.ay.reshape(-1, 4).mean(axis=1), abs=1e-9)


async def test_a_relay_whose_turn_is_over_removes_nothing(engine: AsyncEngine) -> None:
    old = await record(engine, 31)

    async def lost(_: AsyncConnection) -> None:
        raise LeaseLost("retention is another's")

    retention = Retention(RetentionStore(engine), Policy(remove_days=30, thin_days=1), lambda: NOW, Metrics())
    with pytest.raises(LeaseLost):
        await retention.sweep(lost)
    assert await kept(engine) == {old: 1000}


# -- whole months --------------------------------------------------------------------------------------------------

LONG_AGO = date(2020, 2, 1)


@pytest.fixture(params=["postgres", "timescale"])
def server(request: pytest.FixtureRequest) -> Postgres:
    found: Postgres = request.getfixturevalue(request.param)
    return found


async def month_of(server: Postgres, recordings: int) -> tuple[AsyncEngine, list[str], Metrics]:
    """A month of long ago with so many recordings."""
    engine, found = open_engine(database_url(server.database(), Path())), list[str]()
    await migrate(engine)
    async with engine.begin() as connection:
        await connection.run_sync(make_one, LONG_AGO)
    days_ago = (NOW - datetime(2020, 2, 10, tzinfo=UTC).timestamp() * 1000) / DAY_MS
    for _ in range(recordings):
        session = str(uuid4())
        async with engine.begin() as connection:
            row = {"id": session, "started_at_ms": NOW - days_ago * DAY_MS, "month": LONG_AGO}
            await connection.execute(sa.insert(scg_sessions).values(row))
        found.append(await record(engine, days_ago, session=session))
    return engine, found, Metrics()


async def file_of(engine: AsyncEngine) -> int:
    """The file of that month's table: another one once the table was cleared at once, the same after any row went."""
    async with engine.connect() as connection:
        table = await connection.run_sync(table_of, LONG_AGO)
        return int((await connection.execute(sa.text(f"SELECT pg_relation_filenode('{table}')"))).scalar_one())


async def test_a_month_of_which_nothing_is_to_stay_goes_at_once(server: Postgres) -> None:
    engine, _, metrics = await month_of(server, 3)
    young, file = await record(engine, 1), await file_of(engine)
    await Retention(RetentionStore(engine), Policy(remove_days=30), lambda: NOW, metrics).sweep(unfenced)
    assert await kept(engine) == {young: 1000}
    assert metrics.recordings_removed._value.get() == 3
    assert await file_of(engine) != file
    async with engine.connect() as connection:
        left = {row[0] for row in await connection.execute(sa.select(scg_received.c.session_id))}
        assert left == {young}
    await engine.dispose()


async def test_of_a_month_in_which_one_is_held_the_others_go(server: Postgres) -> None:
    engine, [held, *_], metrics = await month_of(server, 3)
    store, file = RetentionStore(engine), await file_of(engine)
    await store.hold(held, "anna", "complaint", NOW)
    await Retention(store, Policy(remove_days=30), lambda: NOW, metrics).sweep(unfenced)
    assert await kept(engine) == {held: 1000}
    assert await file_of(engine) == file
    await engine.dispose()


@pytest.mark.parametrize("what", ["hold", "samples"])
async def test_a_month_that_changes_once_it_is_judged_stays(server: Postgres, what: str) -> None:
    engine, [one, other], _ = await month_of(server, 2)
    store, judge = RetentionStore(engine), partial(fate, policy=Policy(remove_days=30), now_ms=NOW)
    assert await store.months(NOW) == [LONG_AGO]
    assert await store.months(datetime(2020, 2, 29, tzinfo=UTC).timestamp() * 1000) == []
    judged = await store.whole(LONG_AGO, judge)
    assert judged is not None
    if what == "hold":
        await store.hold(one, "anna", "complaint", NOW)
    else:
        await record(engine, 1, session=one, boot="late")
    assert not await store.remove_month(judged, unfenced)
    assert set(await kept(engine)) == {one, other}
    assert await store.whole(LONG_AGO, judge) is None
    await engine.dispose()


# -- the rules ----------------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 2000), max_size=40),
    st.sampled_from([1.0, 10.0, 25.0, 50.0]),
    st.sets(st.integers(0, 39), max_size=5),
)
def test_thinning_keeps_order_and_mean_and_is_done_once(times: list[int], hz: float, damaged: set[int]) -> None:
    t = np.sort(np.array(times, float))
    az = np.sin(t)
    az[[one for one in damaged if one < len(t)]] = np.nan
    once = thinned(Columns(t=t, ax=t * 0, ay=t * 0, az=az), hz)
    twice = thinned(once, hz)
    assert (np.diff(once.t) > 0).all()
    assert len(once) <= 2 * hz + 1
    assert np.isfinite(once.az).all()
    assert np.abs(once.az).max(initial=0) <= 1
    assert len(once) == len(twice)
    assert once.t == pytest.approx(twice.t)


@given(st.integers(0, 100), st.integers(0, 100), st.booleans(), st.booleans())
def test_nothing_that_is_held_or_awaits_review_is_touched(age: int, remove: int, held: bool, awaits: bool) -> None:
    begin = NOW - age * DAY_MS
    waiting: tuple[tuple[float, float | None], ...] = ((begin, None),) if awaits else ()
    one = Recording("a", begin, begin, None, held=held, awaits=waiting)
    found = fate(one, Policy(remove_days=remove, thin_days=remove / 2), NOW)
    if held or awaits:
        assert found in (Fate.KEEP, Fate.HELD, Fate.UNREVIEWED)
    if found is Fate.REMOVE:
        assert age > remove > 0


def test_a_recording_nobody_ended_counts_from_its_newest_sample() -> None:
    began = NOW - 90 * DAY_MS
    for newest in (NOW - 5.0, 90 * DAY_MS - 5.0):
        assert Recording("a", began, None, newest).last_ms == pytest.approx(NOW - 5.0)
        assert fate(Recording("a", began, None, newest), Policy(remove_days=30), NOW) is Fate.KEEP


async def test_no_command_puts_a_hold_between_the_judging_and_the_removal(tmp_path: Path) -> None:
    """On SQLite, whose rows cannot be locked; on PostgreSQL the recording's row is."""
    engine = open_engine(database_url("", tmp_path))
    await migrate(engine)
    old, refused = await record(engine, 40), list[str]()

    def judge(_: Recording) -> Fate:
        with contextlib.closing(sqlite3.connect(tmp_path / "relay.db", timeout=0)) as command:
            try:
                command.execute("INSERT INTO scg_holds VALUES (?, 'a', 'b', 1.0)", (old,))
            except sqlite3.OperationalError as error:
                refused.append(str(error))
        return Fate.REMOVE

    assert await RetentionStore(engine).remove(old, judge, unfenced)
    assert refused == ["database is locked"]
    await engine.dispose()


async def test_the_database_passes_over_only_what_the_rules_would_keep_and_asks_little(engine: AsyncEngine) -> None:
    """Two pages of recordings of every age, end, rate and hold; judged by the rules, one by one, and by the store."""
    all_ = [_varied(number) for number in range(700)]
    async with engine.begin() as connection:
        await connection.execute(
            sa.insert(scg_sessions),
            [
                {
                    "id": one.id,
                    "started_at_ms": one.started_ms,
                    "ended_at_ms": one.ended_ms,
                    "thinned_hz": one.thinned_hz,
                }
                for one in all_
            ],
        )
        chunk = {"boot": "b", "first_seq": 1, "samples": 1, "t_min": 0.0, "body": b""}
        measured = [one for one in all_ if one.newest_t is not None]
        rows = [chunk | {"session_id": one.id, "of": one.id, "t_max": one.newest_t} for one in measured]
        await connection.execute(sa.insert(scg_chunks).values(month=months.month_of(sa.bindparam("of"))), rows)
        held = [{"session_id": one.id, "who": "a", "why": "b", "at_ms": 1.0} for one in all_ if one.held]
        await connection.execute(sa.insert(scg_holds), held)
    asked: list[str] = []
    sa.event.listen(engine.sync_engine, "before_cursor_execute", lambda *said: asked.append(said[2]))
    for policy in (Policy(remove_days=30), Policy(thin_days=10), Policy(remove_days=40, thin_days=5, thin_hz=12)):
        retention = Retention(RetentionStore(engine), policy, lambda: NOW, Metrics())
        wanted = {one.id: what for one, what in due(all_, policy, NOW)}
        assert {one.id: what for one, what in await retention.due()} == wanted
        assert set(wanted.values()) > {Fate.HELD}
    assert len(asked) < 20


def _varied(number: int) -> Recording:
    started = NOW - number % 53 * DAY_MS - 1
    return Recording(
        id=f"{number * 2_654_435_761 % 2**32:08x}-0000-4000-8000-000000000000",
        started_ms=started,
        ended_ms=(None, started + DAY_MS, started + 7 * DAY_MS)[number % 3],
        newest_t=(None, started + 2 * DAY_MS, 3 * DAY_MS, started + 12 * DAY_MS)[number // 3 % 4],
        thinned_hz=(None, 50.0, 25.0, 12.0)[number // 12 % 4],
        held=number % 7 == 0,
    )
