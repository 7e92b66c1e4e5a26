"""Months: on PostgreSQL each month's chunks are a table of their own, made ahead, dropped when nothing is left in it.

A session is of the month in which the database first heard of it, by the database's own clock, and stays of it; a
foreign key holds its chunks to the same. The tables are partitions, or chunks of a hypertable where that is used.
"""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Protocol

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from relay.cluster.leases import Fence
from relay.db import hypertables, partitions
from relay.db.models import BEFORE, scg_sessions
from relay.db.transactions import transaction
from relay.errors import StoreUnavailable

AHEAD = 2
"""Months made beyond the present one: so long may every try to make one fail."""
EVERY_S = 3600.0
LOCKED_WITHIN_MS = 500
"""Less than PostgreSQL's deadlock_timeout: whoever stores never gives way to this, this gives way to them."""
ONE_AT_A_TIME = 5_017_635
"""Number of the lock that whoever makes or drops a month holds; any that nobody else uses."""

_id: sa.ColumnClause[int] = sa.column("id")
log = structlog.get_logger(__name__)


class Layout(Protocol):
    """How a month's table is made, found and dropped, in the caller's transaction."""

    def tables(self, connection: sa.Connection) -> dict[date, str]: ...
    def make(self, connection: sa.Connection, month: date, following: date) -> None: ...
    def drop(self, connection: sa.Connection, month: date) -> None: ...


def month_of(session: sa.ColumnElement[str]) -> sa.ColumnElement[date]:
    """A session's month, inside a statement; BEFORE where there is no such session."""
    found = sa.select(scg_sessions.c.month).where(scg_sessions.c.id == session).scalar_subquery()
    return sa.func.coalesce(found, sa.literal(BEFORE))


async def read_month(connection: AsyncConnection, session: str) -> date:
    """For the next statement, which then touches that month's table alone; BEFORE where there is no such session."""
    found = await connection.execute(sa.select(scg_sessions.c.month).where(scg_sessions.c.id == session))
    return found.scalar() or BEFORE


def table_of(connection: sa.Connection, month: date) -> str:
    """KeyError where the month has none."""
    return layout_of(connection).tables(connection)[month]


def following(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


async def keep_for_ever(engine: AsyncEngine, fence: Fence) -> None:
    """Once an hour: the months to come are made, those that are over and empty are dropped."""
    while True:
        try:
            await keep(engine, fence)
        except StoreUnavailable as error:
            log.warning("months_wait", reason=str(error))
        await asyncio.sleep(EVERY_S)


async def keep(engine: AsyncEngine, fence: Fence) -> None:
    async with transaction(engine, write=True) as connection:
        await fence(connection)
        await connection.run_sync(make)
        empty = await connection.run_sync(empty_and_over)
    for month in empty:
        async with transaction(engine, write=True) as connection:
            await fence(connection)
            await connection.run_sync(drop, month)


def lay(connection: sa.Connection) -> None:
    """As a relay starts: where the database has TimescaleDB and no samples yet, a hypertable; then the months."""
    if hypertables.may_be_used(connection):
        _alone(connection)
        hypertables.adopt(connection)
    make(connection)


def make(connection: sa.Connection) -> None:
    """Make the present month and those AHEAD where they are not there. Any number of relays may try at once."""
    if connection.dialect.name != "postgresql" or not _missing(connection):
        return
    _alone(connection)
    for month in _missing(connection):
        make_one(connection, month)


def make_one(connection: sa.Connection, month: date) -> None:
    layout_of(connection).make(connection, month, following(month))


def drop(connection: sa.Connection, month: date) -> None:
    """Drop the table of a month that is over, unless something is in it; the disk has its space back at once."""
    _alone(connection)
    _run(connection, "LOCK TABLE scg_sessions, scg_chunks IN ACCESS EXCLUSIVE MODE")
    if month in empty_and_over(connection):
        layout_of(connection).drop(connection, month)
        log.info("month_dropped", month=str(month))


def empty_and_over(connection: sa.Connection) -> list[date]:
    """Months before the present one in whose table nothing is."""
    present, tables = _present(connection), layout_of(connection).tables(connection)
    return [month for month, table in tables.items() if month < present and not _holds(connection, table)]


def over(connection: sa.Connection) -> list[date]:
    """Months before the present one that have a table of their own."""
    present = _present(connection)
    return [month for month in months(connection) if BEFORE < month < present]


def hold_still(connection: sa.Connection, month: date) -> int | None:
    """Until the transaction ends nobody reads or adds to a month's table; gives the number of its newest chunk."""
    _alone(connection)
    _run(connection, f"LOCK TABLE {table_of(connection, month)} IN ACCESS EXCLUSIVE MODE")
    return newest(connection, month)


def newest(connection: sa.Connection, month: date) -> int | None:
    return connection.scalar(sa.select(sa.func.max(_id)).select_from(sa.text(table_of(connection, month))))


def clear(connection: sa.Connection, month: date) -> None:
    """Everything in the table of a month that holds still, at once."""
    _run(connection, f"TRUNCATE {table_of(connection, month)}")


def months(connection: sa.Connection) -> list[date]:
    """Those that have a table, the oldest first."""
    return list(layout_of(connection).tables(connection))


def layout_of(connection: sa.Connection) -> Layout:
    return hypertables if hypertables.used(connection) else partitions


def _missing(connection: sa.Connection) -> list[date]:
    wanted = [_present(connection)]
    while len(wanted) <= AHEAD:
        wanted.append(following(wanted[-1]))
    there = months(connection)
    return [month for month in wanted if month not in there]


def _present(connection: sa.Connection) -> date:
    now: date = connection.execute(sa.text("SELECT (now() AT TIME ZONE 'UTC')::date")).scalar_one()
    return now.replace(day=1)


def _holds(connection: sa.Connection, table: str) -> bool:
    return bool(connection.scalar(sa.select(sa.exists(sa.select(_id).select_from(sa.text(table))))))


def _alone(connection: sa.Connection) -> None:
    """One at a time, and giving up soon: who waits for a table keeps everybody behind it waiting too."""
    _run(connection, f"SET LOCAL lock_timeout = {LOCKED_WITHIN_MS}")
    _run(connection, f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})")


def _run(connection: sa.Connection, statement: str) -> None:
    connection.execute(sa.text(statement))
