"""A store after a crash: whatever happened to the tail of its journal, every commit before the damage is there."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import structlog
from sqlalchemy import text

from core.contracts.scg import Columns
from relay.db.engine import migrate, open_engine, sqlite_url
from relay.db.journal import recover
from relay.errors import StoreUnavailable
from relay.process.metrics import Metrics
from relay.scg.entries import Entry, Session
from relay.scg.store import Store
from tests.databases import with_tables, writing

COMMITS, TRIALS = 40, 300
SESSION = "00000000-0000-4000-8000-000000000001"


def _columns(seq: int) -> Columns:
    t = 1_721_574_600_000.0 + 100 * seq + 10 * np.arange(10)
    return Columns(t=t, ax=t * 0 + seq, ay=t * 0, az=np.sin(t))


async def _written(folder: Path) -> list[int]:
    """Commit one batch after another; gives the journal's size after each, when its acknowledgement went out."""
    journal, sizes = folder / "relay.db-wal", []
    async with with_tables(folder=folder) as engine, writing(engine) as (_, writer):
        for seq in range(COMMITS):
            put = Session(id=SESSION, started_at_ms=0.0) if seq == 0 else None
            writer.submit(Entry(session=SESSION, done=lambda: None, columns=_columns(seq), boot="b", seq=seq, put=put))
            await writer.drained()
            sizes.append(journal.stat().st_size)
        for name in ("relay.db", "relay.db-wal"):
            shutil.copy(folder / name, folder / f"{name}.crashed")
    return sizes


async def _read(folder: Path) -> list[int]:
    engine = open_engine(sqlite_url(folder))
    seen = await Store(engine, Metrics()).seen(SESSION)
    await engine.dispose()
    return [n for start, end in seen["b"].ranges() for n in range(start, end + 1)] if "b" in seen else []


def _damage(journal: Path, chance: random.Random) -> int:
    """Cut, overwrite or lengthen the tail; gives the offset of the first byte that is not as it was."""
    data = bytearray(journal.read_bytes())
    kind, at = chance.choice(("cut", "overwrite", "zeros", "append")), chance.randrange(len(data) // 2, len(data))
    if kind == "cut":
        del data[at:]
    elif kind == "overwrite":
        length = min(chance.randrange(1, 5000), len(data) - at)
        data[at : at + length] = chance.randbytes(length)
    elif kind == "zeros":
        data[at:] = bytes(len(data) - at)
    else:
        at = len(data)
        data += chance.randbytes(chance.randrange(1, 9000))
    journal.write_bytes(data)
    return at


async def test_three_hundred_torn_journals(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    sizes = await _written(origin)
    chance = random.Random(20)
    said = 0
    for trial in range(TRIALS):
        folder = tmp_path / f"t{trial}"
        folder.mkdir()
        for name in ("relay.db", "relay.db-wal"):
            shutil.copy(origin / f"{name}.crashed", folder / name)
        intact_to = _damage(folder / "relay.db-wal", chance)
        with structlog.testing.capture_logs() as logs:
            found = await _read(folder)
        said += any(entry["event"] == "journal_recovered" for entry in logs)
        acknowledged = [seq for seq, size in enumerate(sizes) if size <= intact_to]
        assert found == list(range(len(found))), "a commit in the middle is missing"
        assert found[: len(acknowledged)] == acknowledged
        shutil.rmtree(folder)
    assert said == TRIALS


def test_a_damaged_database_stops_the_start_and_names_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    path.write_bytes(b"SQLite format 3\0" + b"\x07" * 5000)
    with pytest.raises(StoreUnavailable, match="backup"):
        recover(path)


async def test_an_entry_another_relay_stored_first_counts_as_stored(tmp_path: Path) -> None:
    done: list[str] = []
    async with with_tables(folder=tmp_path) as engine:
        for relay in ("first", "second"):
            async with writing(engine) as (store, writer):
                writer.submit(
                    Entry(
                        session=SESSION,
                        done=lambda relay=relay: done.append(relay),
                        columns=_columns(1),
                        boot="b",
                        seq=1,
                        put=Session(id=SESSION, started_at_ms=0.0),
                    )
                )
                await writer.drained()
        samples = await store.samples(SESSION)
    assert done == ["first", "second"]
    assert samples is not None
    assert len(samples) == 10


async def test_a_database_of_a_newer_release_is_left_alone_and_says_what_to_do(tmp_path: Path) -> None:
    async with with_tables(folder=tmp_path) as engine:
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(StoreUnavailable, match="newer Homeside"):
            await migrate(engine)
