"""Counts kept by triggers are the counts of the rows, whatever happens to those; and tables go back as they came."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.db import engine as database
from relay.db.engine import database_url, migrate, open_engine
from relay.db.physio import exercise_sessions, exercise_types, patients, session_counts, users

STATUSES = ("pending", "recording", "review_pending", "reviewed", None)
NIL = str(uuid.UUID(int=0))
OWN = exercise_sessions.c


@pytest.fixture(params=["sqlite", "postgresql"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    engine = open_engine(database_url(server.database() if server else "", tmp_path))
    await migrate(engine)
    yield engine
    await engine.dispose()


async def _people(engine: AsyncEngine, count: int) -> list[str]:
    made = [str(uuid.uuid4()) for _ in range(count)]
    async with engine.begin() as connection:
        for key in made:
            person = {"id": key, "email": f"{key}@example.org", "password_hash": "x", "role": "patient"}
            await connection.execute(sa.insert(users).values(**person))
            await connection.execute(sa.insert(patients).values(id=key, user_id=key))
    return made


async def _run(engine: AsyncEngine, *statements: sa.Executable) -> None:
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(statement)


def _session(patient: str | None, status: str | None, exercise: str | None = None) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "patient_id": patient, "status": status, "exercise_type_id": exercise}


async def _agree(engine: AsyncEngine) -> int:
    """Counts kept against counts made; how many sessions they say there are."""
    kept = sa.select(session_counts).where(session_counts.c.sessions != 0)
    made = sa.select(OWN.patient_id, OWN.status, OWN.exercise_type_id, sa.func.count()).where(
        OWN.patient_id.is_not(None)
    )
    async with engine.connect() as connection:
        found = {tuple(row)[:3]: row[3] for row in await connection.execute(kept)}
        rows = await connection.execute(made.group_by(OWN.patient_id, OWN.status, OWN.exercise_type_id))
        expected = {(row[0], row[1] or "", row[2] or NIL): row[3] for row in rows}
    assert found == expected
    return sum(expected.values())


async def test_counts_follow_every_change(opened: AsyncEngine) -> None:
    ann, ben, eve = await _people(opened, 3)
    async with opened.connect() as connection:
        exercises: list[str] = list((await connection.execute(sa.select(exercise_types.c.id).limit(2))).scalars())
    chance = random.Random(7)
    made = [
        _session(patient, status, exercise)
        for patient in (ann, ben, eve, None)
        for status in STATUSES
        for exercise in (None, *exercises)
    ]
    await _run(opened, sa.insert(exercise_sessions).values(made))
    assert await _agree(opened) == 3 * len(STATUSES) * 3
    for row in chance.sample(made, 30):
        one = sa.update(exercise_sessions).where(OWN.id == row["id"])
        await _run(opened, one.values(status=chance.choice(STATUSES)))
        await _run(opened, one.values(exercise_type_id=chance.choice([None, *exercises]), instructions="slowly"))
        await _run(opened, one.values(patient_id=chance.choice([ann, ben, eve])))
    await _agree(opened)
    await _run(opened, sa.update(exercise_sessions).where(OWN.patient_id == ann).values(status="reviewed"))
    before = await _agree(opened)
    await _run(opened, sa.delete(exercise_sessions).where(OWN.status == "reviewed", OWN.patient_id == ann))
    assert await _agree(opened) < before
    await _run(opened, sa.delete(users).where(users.c.id == ben))
    await _run(opened, sa.delete(patients).where(patients.c.id == eve))
    await _agree(opened)
    async with opened.connect() as connection:
        assert set((await connection.execute(sa.select(session_counts.c.patient_id))).scalars()) <= {ann}


async def test_counts_hold_when_many_write_at_once(opened: AsyncEngine) -> None:
    """One patient's sessions made, moved to and fro between two statuses, and deleted, by eight at a time."""
    [ann] = await _people(opened, 1)
    turns = asyncio.Lock() if opened.dialect.name == "sqlite" else None

    async def write(statement: sa.Executable) -> None:
        if turns is None:
            await _run(opened, statement)
            return
        async with turns:
            await _run(opened, statement)

    async def somebody(number: int) -> None:
        for _ in range(10):
            row, ways = _session(ann, "pending"), ("reviewed", "pending") if number % 2 else ("pending", "reviewed")
            await write(sa.insert(exercise_sessions).values(**row))
            for status in ways:
                await write(sa.update(exercise_sessions).where(OWN.id == row["id"]).values(status=status))
            if number % 4 == 0:
                await write(sa.delete(exercise_sessions).where(OWN.id == row["id"]))

    await asyncio.gather(*(somebody(number) for number in range(8)))
    assert await _agree(opened) == 60


async def test_the_tables_go_back_one_step_and_to_nothing_and_come_again(opened: AsyncEngine) -> None:
    [ann] = await _people(opened, 1)
    await _run(opened, sa.insert(exercise_sessions).values([_session(ann, status) for status in STATUSES]))
    await _step(opened, "0013")
    await _run(opened, sa.insert(exercise_sessions).values(**_session(ann, "pending")))
    async with opened.connect() as connection:
        assert "session_counts" not in await connection.run_sync(lambda c: sa.inspect(c).get_table_names())
    await migrate(opened)
    assert await _agree(opened) == len(STATUSES) + 1, "sessions made before the counts were counted"
    await _step(opened, "base")
    async with opened.connect() as connection:
        assert await connection.run_sync(lambda c: sa.inspect(c).get_table_names()) == ["alembic_version"]
    await migrate(opened)
    assert await _agree(opened) == 0


async def _step(engine: AsyncEngine, revision: str) -> None:
    def run(connection: sa.Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(database.__file__).with_name("migrations")))
        config.attributes["connection"] = connection
        command.downgrade(config, revision)

    async with engine.begin() as connection:
        await connection.run_sync(run)
