"""Chunks of heart sessions for a test: messages that make them, rows of before there were months, rows as they lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import AsyncEngine

from core.contracts.columns import pack
from core.contracts.scg import Columns
from relay.db import engine as database
from relay.scg.entries import Entry, Session

PER = 10
"""Samples a message."""


def batch(seq: int) -> Columns:
    t = np.arange(PER, dtype=float) * 10 + seq * PER * 10
    return Columns(t=t, ax=t * 0, ay=t * 0, az=t / 7)


def message(session: str, seq: int, boot: str | None = "b", done: Callable[[], None] = lambda: None) -> Entry:
    return Entry(session=session, done=done, columns=batch(seq), boot=boot, seq=seq if boot else None)


def begin(session: str) -> Entry:
    row = Session(id=session, started_at_ms=1.0, kit="kit")
    return Entry(session=session, done=lambda: None, put=row, begins=True)


async def run(engine: AsyncEngine, *statements: str, **values: Any) -> None:
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(sa.text(statement), values)


async def column(engine: AsyncEngine, statement: str) -> list[Any]:
    async with engine.connect() as connection:
        return list((await connection.execute(sa.text(statement))).scalars())


def _revised(connection: sa.Connection, revision: str, *, up: bool) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    (command.upgrade if up else command.downgrade)(config, revision)


async def to_revision(engine: AsyncEngine, revision: str, *, up: bool) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(_revised, revision, up=up)


async def stored_before_months(engine: AsyncEngine, sessions: list[str]) -> None:
    """Rows by the statements of a relay that knew of no months."""
    chunk = (
        "INSERT INTO scg_chunks (session_id, boot, first_seq, seqs, samples, t_min, t_max, body, clock) "
        "VALUES (:session_id, :boot, :seq, :seqs, :samples, :t_min, :t_max, :body, '[[1, 0.5]]')"
    )
    for session in sessions:
        await run(engine, "INSERT INTO scg_sessions (id, started_at_ms) VALUES (:id, 5)", id=session)
        for boot in ("b", "c", None):
            for seq in range(1, 4):
                samples = batch(seq)
                row: dict[str, Any] = {
                    "session_id": session,
                    "boot": boot,
                    "seq": seq if boot else None,
                    "samples": PER,
                }
                row |= {"seqs": f"[[{seq}, {seq}]]" if boot else None, "body": pack(samples)}
                await run(engine, chunk, **row, t_min=float(samples.t.min()), t_max=float(samples.t.max()))
            if boot:
                received = "INSERT INTO scg_received (session_id, boot, seqs) VALUES (:id, :boot, '[[1, 3]]')"
                await run(engine, received, id=session, boot=boot)


async def chunks(engine: AsyncEngine) -> list[tuple[Any, ...]]:
    names = "id, session_id, boot, first_seq, CAST(seqs AS TEXT), samples, t_min, t_max, body, CAST(clock AS TEXT)"
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(sa.text(f"SELECT {names} FROM scg_chunks ORDER BY id"))]
