"""A database with our tables, and heart sessions' store with its writer at work, joined as the relay's wiring does."""

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
    """The PostgreSQL database of that URL, or, where there is none, an SQLite one in the folder."""
    engine = open_engine(database_url(url, folder))
    try:
        await migrate(engine)
        yield engine
    finally:
        await engine.dispose()


def writer_of(
    store: Store, metrics: Metrics | None = None, *, max_samples: int = 10**6, every_s: float = 0.0
) -> Writer:
    """One that is not running yet."""
    return Writer(store.keep, metrics or Metrics(), max_samples=max_samples, commit_every_s=every_s)


@asynccontextmanager
async def writing(engine: AsyncEngine, *, every_s: float = 0.0) -> AsyncIterator[tuple[Store, Writer]]:
    """Ends without a last commit: what is to be stored is waited for inside."""
    store = Store(engine, Metrics())
    writer = writer_of(store, every_s=every_s)
    running = asyncio.create_task(writer.run())
    try:
        yield store, writer
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
