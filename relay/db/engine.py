"""Opens the database and brings its tables up to date. SQLite waits for the disk before it says a commit is done."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy import event, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from relay.db.journal import recover
from relay.errors import StoreUnavailable

BUSY_TIMEOUT_MS = 10_000
_MIGRATIONS = Path(__file__).parent / "migrations"

log = structlog.get_logger(__name__)


def sqlite_url(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'relay.db'}"


def open_engine(url: str) -> AsyncEngine:
    """The engine for a database. An embedded one takes in its journal first, and must be whole: StoreUnavailable."""
    engine = create_async_engine(url)
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        recover(Path(address.database or ""))
        event.listen(engine.sync_engine, "connect", _on_sqlite_connect)
    return engine


def _on_sqlite_connect(connection: Any, _record: Any) -> None:
    """WAL so that readers never wait; FULL so that a commit survives a power cut, not only a crash."""
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_size_limit=67108864",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


async def migrate(engine: AsyncEngine) -> None:
    """Bring the tables to the newest revision; StoreUnavailable, with the database's own words, when it cannot."""
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    except (SQLAlchemyError, OSError) as error:
        raise StoreUnavailable(f"the database could not be opened or brought up to date: {error}") from error


def _upgrade(connection: Any) -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def answers(engine: AsyncEngine, timeout_s: float = 2.0) -> bool:
    """Whether the database answers now; for /readyz."""
    try:
        async with asyncio.timeout(timeout_s), engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        log.warning("database_does_not_answer", error=type(error).__name__)
        return False
    return True
