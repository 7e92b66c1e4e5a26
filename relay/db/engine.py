"""Opens the database and brings its tables up to date. SQLite waits for the disk before it says a commit is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, NullPool, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from relay.db import months
from relay.db.journal import recover
from relay.errors import SettingsError, StoreUnavailable

BUSY_TIMEOUT_MS = 10_000
MIGRATING = 5_017_634
"""Number of the lock that a migration holds; any that nobody else uses."""
_MIGRATIONS = Path(__file__).parent / "migrations"

log = structlog.get_logger(__name__)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_GIVEN: dict[str, Any] = {"json_serializer": _json, "json_deserializer": msgspec.json.decode}


def sqlite_url(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'relay.db'}"


def database_url(given: str, folder: Path) -> URL:
    """What the settings ask for: a PostgreSQL database by URL, else SQLite in the data folder."""
    if not given:
        return make_url(sqlite_url(folder))
    try:
        url = make_url(given)
    except ArgumentError:
        raise SettingsError("database_url: expected postgresql://user:password@host:5432/name, or nothing") from None
    if url.get_backend_name() in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+asyncpg")
    if url.get_backend_name() == "sqlite":
        return url.set(drivername="sqlite+aiosqlite")
    raise SettingsError(f"database_url: {url.drivername} is none of postgresql and sqlite")


def open_engine(url: str | URL, *, connections: int = 20) -> AsyncEngine:
    """An embedded database takes in its journal first, and must be whole (StoreUnavailable); PostgreSQL gets a pool
    that gives out no connection whose server has gone."""
    address = make_url(url)
    given = dict(_GIVEN)
    if address.get_backend_name() == "sqlite":
        engine = create_async_engine(url, **given)
        recover(Path(address.database or ""))
        event.listen(engine.sync_engine, "connect", _on_sqlite_connect)
        return engine
    given |= {"pool_size": min(5, connections), "max_overflow": max(0, connections - 5), "pool_timeout": 5}
    timeouts = {"timeout": 5, "command_timeout": 30}
    engine = create_async_engine(url, connect_args=timeouts, **given)
    event.listen(engine.sync_engine, "checkout", _is_open)
    return engine


def open_replica(given: str, folder: Path) -> AsyncEngine | None:
    """The read replica that the settings name, or None."""
    return open_engine(database_url(given, folder), connections=5) if given else None


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


def _is_open(connection: Any, _record: Any, _proxy: Any) -> None:
    """The event loop hears a server leave, so nobody need ask: a ping before each transaction takes three round trips.

    A connection that a network lost without a word shows at its first statement, as it would at its ping.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the server closed this connection")


async def migrate(engine: AsyncEngine) -> None:
    """Bring the tables to the newest revision, and make this month's; StoreUnavailable, with the database's own words,
    when it cannot."""
    try:
        if await _stands(engine):
            return
        async with unhurried(engine) as waiting, waiting.begin() as connection:
            await connection.run_sync(_upgrade)
    except CommandError as error:
        raise StoreUnavailable(
            f"the database is of a newer Homeside ({error}). Install that release, or put back the copy made before it"
        ) from error
    except (SQLAlchemyError, OSError) as error:
        raise StoreUnavailable(f"the database could not be opened or brought up to date: {error}") from error


@asynccontextmanager
async def unhurried(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """Connections on which one transaction, tables and all, may take as long as it needs, as migrations do."""
    embedded = engine.dialect.name == "sqlite"
    timeouts: dict[str, Any] = {} if embedded else {"timeout": 5}
    found = create_async_engine(engine.url, poolclass=NullPool, connect_args=timeouts, **_GIVEN)
    if embedded:
        event.listen(found.sync_engine, "connect", _on_sqlite_connect)
        event.listen(found.sync_engine, "connect", _begins_nothing)
        event.listen(found.sync_engine, "begin", _begin_now)
    try:
        yield found
    finally:
        await found.dispose()


def _begins_nothing(connection: Any, _record: Any) -> None:
    """sqlite3 would begin a transaction at the first INSERT only, so that each CREATE before it stood for itself: a
    program that was killed between two of them left tables that the next start could neither use nor make."""
    connection.isolation_level = None


def _begin_now(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


async def _stands(engine: AsyncEngine) -> bool:
    """An embedded database whose tables are the newest: a command need not wait for those who write to it."""
    if engine.dialect.name != "sqlite":
        return False
    async with engine.connect() as connection:
        return await connection.run_sync(_newest)


def _newest(connection: Any) -> bool:
    heads = MigrationContext.configure(connection).get_current_heads()
    return set(heads) == set(ScriptDirectory.from_config(_configuration()).get_heads())


def _configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def _upgrade(connection: Any) -> None:
    """One at a time: the relays of a cluster start together."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATING})"))
    config = _configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "heads")
    try:
        with connection.begin_nested():
            months.lay(connection)
    except DBAPIError as error:
        log.warning("months_wait", reason=str(error.orig))


async def answers(engine: AsyncEngine, timeout_s: float = 2.0) -> bool:
    """Whether the database answers now; for /readyz."""
    try:
        async with asyncio.timeout(timeout_s), engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        log.warning("database_does_not_answer", error=type(error).__name__)
        return False
    return True
