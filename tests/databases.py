"""A database with our tables, and the heart sessions' store with its writer running, connected as in the relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from relay.db.engine import database_url, migrate, open_engine
from relay.process.metrics import Metrics
from relay.scg.store import Store
from relay.scg.writer import Writer


@asynccontextmanager
async def with_tables(url: str = "", folder: Path = Path()) -> AsyncIterator[AsyncEngine]:
    """An engine for the PostgreSQL database of that URL, or, without one, for an SQLite file in the folder; tables
    created.
    """
    engine = open_engine(database_url(url, folder))
    try:
        await migrate(engine)
        yield engine
    finally:
        await engine.dispose()


def writer_of(
    store: Store, metrics: Metrics | None = None, *, max_samples: int = 10**6, every_s: float = 0.0
) -> Writer:
    """A writer that is not running yet."""
    return Writer(store.keep, metrics or Metrics(), max_samples=max_samples, commit_every_s=every_s)


@asynccontextmanager
async def writing(engine: AsyncEngine, *, every_s: float = 0.0) -> AsyncIterator[tuple[Store, Writer]]:
    """A store and its running writer. Stops without a last commit, so wait inside for what must be stored."""
    store = Store(engine, Metrics())
    writer = writer_of(store, every_s=every_s)
    running = asyncio.create_task(writer.run())
    try:
        yield store, writer
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
