"""A relay that is killed while it brings its tables up to date: the next start goes on, to the same tables."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.db.engine import database_url, migrate, open_engine
from tests.peers import REPO_ROOT
from tests.peers_postgres import Postgres

BEFORE = (2, 5, 9, 30, 60)
"""Statements: in the middle of the first revision, between revisions, near the end."""


@pytest.fixture(scope="module")
def child() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.relay.migrating"]
    with subprocess.Popen(command, cwd=REPO_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        yield running
        assert running.stdin is not None
        running.stdin.close()


def killed(child: subprocess.Popen[str], url: str, number: int) -> str:
    assert child.stdin is not None
    assert child.stdout is not None
    print(url, number, file=child.stdin, flush=True)
    return child.stdout.readline().strip()


async def tables(engine: AsyncEngine) -> dict[str, list[str]]:
    """By name, with their columns; brought up to date first."""
    await migrate(engine)
    async with engine.connect() as connection:
        names = await connection.run_sync(lambda it: sorted(inspect(it).get_table_names()))
        columns = [await connection.run_sync(lambda it, of=name: inspect(it).get_columns(of)) for name in names]
    await engine.dispose()
    return {name: [one["name"] for one in of] for name, of in zip(names, columns, strict=True)}


async def test_on_sqlite(child: subprocess.Popen[str], tmp_path: Path) -> None:
    wanted = await tables(open_engine(database_url("", tmp_path)))
    for number in BEFORE:
        folder = tmp_path / str(number)
        folder.mkdir()
        url = database_url("", folder)
        assert killed(child, url.render_as_string(), number) == "killed"
        assert await tables(open_engine(url)) == wanted


async def test_on_postgresql(child: subprocess.Popen[str], postgres: Postgres) -> None:
    wanted = await tables(open_engine(database_url(postgres.database(), Path())))
    for number in (9, 60):
        url = database_url(postgres.database(bare=True), Path())
        assert killed(child, url.render_as_string(hide_password=False), number) == "killed"
        assert await tables(open_engine(url)) == wanted
