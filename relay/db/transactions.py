"""One transaction, and the one place where a database that is away becomes StoreUnavailable (503, try again)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import structlog
from sqlalchemy import Executable
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from relay.errors import StoreUnavailable

Row = dict[str, Any]
log = structlog.get_logger(__name__)


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Committed when the block ends well. A broken constraint is the caller's to explain: IntegrityError passes."""
    try:
        async with engine.begin() as connection:
            yield connection
    except IntegrityError:
        raise
    except (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        log.error("database_failed", error=type(error).__name__, cause=type(error.__cause__).__name__)
        raise StoreUnavailable("The database does not answer. Try again in a moment.") from error


async def rows(connection: AsyncConnection, query: Executable) -> list[Row]:
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def first(connection: AsyncConnection, query: Executable) -> Row | None:
    row = (await connection.execute(query)).mappings().first()
    return dict(row) if row is not None else None
