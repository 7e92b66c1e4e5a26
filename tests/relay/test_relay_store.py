"""The store: chunks joined later hold the same samples and the same numbers, and a failing database loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from core.contracts.scg import ClockNote, Columns
from relay.clock import SystemClock
from relay.db.models import scg_chunks
from relay.errors import SessionNotFound, StoreUnavailable
from relay.process.metrics import Metrics
from relay.process.tracing import Untraced
from relay.scg.entries import Entry, Session
from relay.scg.feeds import Alone
from relay.scg.intake import Intake
from relay.scg.live import Live
from relay.scg.service import ScgService
from relay.scg.sessions import Bounds, LiveSessions
from relay.scg.store import Store
from relay.scg.writer import Writer
from tests.databases import with_tables, writer_of, writing

SESSION = "00000000-0000-4000-8000-000000000001"


def _columns(seq: int) -> Columns:
    t = 1_721_574_600_000.0 + 100 * seq + 10 * np.arange(10)
    return Columns(t=t, ax=t * 0 + seq, ay=t * 0, az=np.sin(t))


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    async with with_tables(folder=tmp_path) as found:
        yield found


@pytest.fixture
async def joined(engine: AsyncEngine) -> AsyncIterator[tuple[Store, Writer]]:
    async with writing(engine) as found:
        yield found


@pytest.fixture
def store(joined: tuple[Store, Writer]) -> Store:
    return joined[0]


@pytest.fixture
def writer(joined: tuple[Store, Writer]) -> Writer:
    return joined[1]


def _sessions(store: Store, writer: Writer) -> LiveSessions:
    bounds = Bounds(live_sessions=9, ring_frames=64, ring_ms=10_000, backlog_ms=30_000)
    return LiveSessions(store, writer, SystemClock(), Metrics(), bounds)


async def _fill(writer: Writer, boots: dict[str | None, range]) -> list[tuple[str | None, int]]:
    done: list[tuple[str | None, int]] = []
    writer.submit(Entry(session=SESSION, done=lambda: None, put=Session(id=SESSION, started_at_ms=0.0)))
    for boot, seqs in boots.items():
        for seq in seqs:
            writer.submit(
                Entry(
                    session=SESSION,
                    done=lambda key=(boot, seq): done.append(key),
                    columns=_columns(seq),
                    boot=boot,
                    seq=seq if boot else None,
                    clock=ClockNote(error_ms=0.5, tick=float(seq)),
                )
            )
            await writer.drained()
    return done


async def _rows(engine: AsyncEngine) -> list[dict]:
    async with engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(sa.select(scg_chunks))).mappings()]


async def test_joined_chunks_hold_the_same(store: Store, writer: Writer, engine: AsyncEngine) -> None:
    await _fill(writer, {"a": range(1, 40), "b": range(100, 130), None: range(200, 205)})
    before, whole = await _rows(engine), await store.samples(SESSION)
    gone = await store.compact(SESSION)
    after, again = await _rows(engine), await store.samples(SESSION)
    assert (len(before), len(after), gone) == (74, 3, 71)
    assert whole is not None
    assert again is not None
    for key in ("t", "ax", "ay", "az"):
        assert np.array_equal(getattr(whole, key), getattr(again, key))
    seen = await store.seen(SESSION)
    assert {boot: ranges.ranges() for boot, ranges in seen.items()} == {"a": [[1, 39]], "b": [[100, 129]]}
    assert sum(len(row["clock"]) for row in after) == 74
    assert await store.compact(SESSION) == 0


async def test_a_database_that_fails_is_tried_again_and_loses_nothing(
    store: Store, writer: Writer, engine: AsyncEngine
) -> None:
    await _fill(writer, {"a": range(1, 3)})
    async with engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE scg_chunks RENAME TO away"))
    done: list[int] = []
    writer.submit(Entry(session=SESSION, done=lambda: done.append(3), columns=_columns(3), boot="a", seq=3))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(writer.drained(), 0.4)
    assert done == []
    async with engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE away RENAME TO scg_chunks"))
    await asyncio.wait_for(writer.drained(), 10)
    assert done == [3]
    assert (await store.seen(SESSION))["a"].ranges() == [[1, 3]]


async def test_who_asks_while_nothing_can_be_written_is_told_so(
    store: Store, writer: Writer, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a full disk: a new session is refused in time, a recording that is whole is still read."""
    monkeypatch.setattr("relay.commits.ANSWER_WITHIN_S", 0.1)
    await _fill(writer, {"a": range(1, 3)})
    sessions, intake = _sessions(store, writer), Intake(writer, Metrics(), Alone(), Untraced())
    service = ScgService(store, writer, sessions, intake, SystemClock())
    with contextlib.closing(sqlite3.connect(str(engine.url.database), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="disk"):
            await service.create(user_agent="", platform="")
        assert b"".join(await service.samples(SESSION)).count(b'"t"') == 20
        other.execute("ROLLBACK")


async def test_waiting_for_what_was_submitted_does_not_wait_for_what_comes_after(writer: Writer) -> None:
    stop = False

    async def feed() -> None:
        seq = 0
        while not stop:
            seq += 1
            writer.submit(Entry(session=SESSION, done=lambda: None, columns=_columns(seq), boot="a", seq=seq))
            await asyncio.sleep(0)

    writer.submit(Entry(session=SESSION, done=lambda: None, put=Session(id=SESSION, started_at_ms=0.0)))
    feeding = asyncio.create_task(feed())
    for _ in range(3):
        await asyncio.wait_for(writer.drained(), 30)
    stop = True
    await feeding


async def test_a_full_store_says_so_and_has_room_again(engine: AsyncEngine) -> None:
    writer = writer_of(Store(engine, Metrics()), max_samples=100)
    writer.submit(Entry(session=SESSION, done=lambda: None, put=Session(id=SESSION, started_at_ms=0.0)))
    resumed = []
    for seq in range(1, 11):
        writer.submit(Entry(session=SESSION, done=lambda: None, columns=_columns(seq), boot="a", seq=seq))
    assert writer.full
    writer.when_space(lambda: resumed.append(True))
    writing = asyncio.create_task(writer.run())
    await asyncio.wait_for(writer.space(), 10)
    assert resumed == [True]
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)


async def test_who_may_not_begin_a_session_does_not_keep_a_kit_from_beginning_it(store: Store, writer: Writer) -> None:
    """A viewer asks for a session in the same moment as its kit's first samples come: one is told no, not both."""
    sessions = _sessions(store, writer)
    asked = [sessions.of(SESSION), sessions.of(SESSION, kit="bedside-01"), sessions.of(SESSION, kit="bedside-01")]
    viewer, one, again = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(viewer, SessionNotFound)
    assert isinstance(one, Live)
    assert one is again
    assert one.session.kit == "bedside-01"
    await writer.drained()
