"""One transaction, and the one place where a database that does not answer becomes StoreUnavailable (503, retryable).

A value that the database can never store becomes Unstorable: trying again would not help.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

import asyncpg  # type: ignore[import-untyped]
import structlog
from sqlalchemy import Executable
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from relay.errors import StoreUnavailable, Unstorable

Row = dict[str, Any]
AWAY = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""The exceptions of a database that does not answer, or not as it should."""
DATA_EXCEPTION = "22"
"""The class of SQLSTATE codes for values that cannot be stored (ISO/IEC 9075-2, table of SQLSTATE classes)."""
_turns: WeakKeyDictionary[AsyncEngine, asyncio.Lock] = WeakKeyDictionary()
log = structlog.get_logger(__name__)


@asynccontextmanager
async def transaction(engine: AsyncEngine, *, write: bool = False) -> AsyncIterator[AsyncConnection]:
    """A transaction, committed when the block ends without an error. IntegrityError passes through to the caller.

    SQLite has one writer at a time, and does not queue the others: here those with `write` take turns, in order. Their
    transactions lock out other programs from the first statement on. Python's sqlite3 would do so only at the first
    change, and what was read before it, such as that nobody holds a recording, might no longer be true.
    """
    try:
        async with _turn(engine, write=write), engine.begin() as connection:
            if write and engine.dialect.name == "sqlite":
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
    except IntegrityError:
        raise
    except AWAY as error:
        log.error("database_failed", error=type(error).__name__, cause=type(error.__cause__).__name__)
        if unstorable(error):
            raise Unstorable("This holds something that the database cannot keep, such as a NUL character.") from error
        raise StoreUnavailable("The database does not answer. Try again in a moment.") from error


def unstorable(error: BaseException) -> bool:
    """Whether the database answered that it cannot store the value it was given."""
    return str(getattr(getattr(error, "orig", error), "sqlstate", None) or "").startswith(DATA_EXCEPTION)


@asynccontextmanager
async def _turn(engine: AsyncEngine, *, write: bool) -> AsyncIterator[None]:
    if not write or engine.dialect.name != "sqlite":
        yield
        return
    async with _turns.setdefault(engine, asyncio.Lock()):
        yield


async def rows(connection: AsyncConnection, query: Executable) -> list[Row]:
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def first(connection: AsyncConnection, query: Executable) -> Row | None:
    row = (await connection.execute(query)).mappings().first()
    return dict(row) if row is not None else None
