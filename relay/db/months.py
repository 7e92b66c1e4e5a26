"""Months: on PostgreSQL each month's chunks are a table of their own, made ahead, dropped when nothing is left in it.

A session is of the month in which the database first heard of it, by the database's own clock, and stays of it; a
foreign key holds its chunks to the same. What finds no table of its month lies in the default one: nothing is refused.
"""

from __future__ import annotations

import asyncio
import re
from datetime import date

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from relay.cluster.leases import Fence
from relay.db.models import scg_sessions
from relay.db.transactions import transaction
from relay.errors import StoreUnavailable

BEFORE = date(1900, 1, 1)
"""The month of what was stored before there were months, and of everything in SQLite, which keeps one table."""
BEFORE_TABLE, DEFAULT_TABLE = "scg_chunks_before", "scg_chunks_default"
AHEAD = 2
"""Months made beyond the present one: so long may every try to make one fail."""
EVERY_S = 3600.0
LOCKED_WITHIN_MS = 500
"""Less than PostgreSQL's deadlock_timeout: whoever stores never gives way to this, this gives way to them."""
ONE_AT_A_TIME = 5_017_635
"""Number of the lock that whoever makes or drops a month holds; any that nobody else uses."""

log = structlog.get_logger(__name__)


def month_of(session: sa.ColumnElement[str]) -> sa.ColumnElement[date]:
    """A session's month, inside a statement; BEFORE where there is no such session."""
    found = sa.select(scg_sessions.c.month).where(scg_sessions.c.id == session).scalar_subquery()
    return sa.func.coalesce(found, sa.literal(BEFORE))


async def read_month(connection: AsyncConnection, session: str) -> date:
    """For the next statement, which then touches that month's table alone; BEFORE where there is no such session."""
    found = await connection.execute(sa.select(scg_sessions.c.month).where(scg_sessions.c.id == session))
    return found.scalar() or BEFORE


def table_of(month: date) -> str:
    return BEFORE_TABLE if month == BEFORE else f"scg_chunks_{month:%Y_%m}"


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


def make(connection: sa.Connection) -> None:
    """Make the present month and those AHEAD where they are not there. Any number of relays may try at once.

    A month that has begun in the default table stays there: nothing is moved, and nobody waits for it.
    """
    if connection.dialect.name != "postgresql" or not _missing(connection):
        return
    _alone(connection)
    for month in _missing(connection):
        if _holds(connection, DEFAULT_TABLE, month):
            log.warning("month_stays_in_default", month=str(month))
        else:
            make_one(connection, month)


def make_one(connection: sa.Connection, month: date) -> None:
    """Attached, not made in its place: those who read and write meanwhile hardly wait."""
    table, bounds = table_of(month), f"FROM ('{month}') TO ('{following(month)}')"
    _run(connection, f"CREATE TABLE {table} (LIKE scg_chunks INCLUDING DEFAULTS INCLUDING STORAGE)")
    _run(connection, f"ALTER TABLE scg_chunks ATTACH PARTITION {table} FOR VALUES {bounds}")
    log.info("month_made", table=table)


def drop(connection: sa.Connection, month: date) -> None:
    """Drop the table of a month that is over, unless something is in it; the disk has its space back at once."""
    _alone(connection)
    _run(connection, "LOCK TABLE scg_sessions, scg_chunks IN ACCESS EXCLUSIVE MODE")
    if month in empty_and_over(connection):
        _run(connection, f"DROP TABLE {table_of(month)}")
        log.info("month_dropped", table=table_of(month))


def empty_and_over(connection: sa.Connection) -> list[date]:
    """Months before the present one in whose table nothing is."""
    present = _present(connection)
    return [month for month in months(connection) if month < present and not _holds(connection, table_of(month), month)]


def over(connection: sa.Connection) -> list[date]:
    """Months before the present one that have a table of their own."""
    present = _present(connection)
    return [month for month in months(connection) if BEFORE < month < present]


def hold_still(connection: sa.Connection, month: date) -> int | None:
    """Until the transaction ends nobody reads or adds to a month's table; gives the number of its newest chunk."""
    _alone(connection)
    _run(connection, f"LOCK TABLE {table_of(month)} IN ACCESS EXCLUSIVE MODE")
    return newest(connection, month)


def newest(connection: sa.Connection, month: date) -> int | None:
    return connection.scalar(sa.select(sa.func.max(sa.column("id"))).select_from(sa.table(table_of(month))))


def clear(connection: sa.Connection, month: date) -> None:
    """Everything in the table of a month that holds still, at once."""
    _run(connection, f"TRUNCATE {table_of(month)}")


def months(connection: sa.Connection) -> list[date]:
    """Those that have a table, the oldest first."""
    children = sa.text(
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = :of ::regclass"
    )
    names = connection.scalars(children, {"of": "scg_chunks"}).all()
    named = [re.fullmatch(r"scg_chunks_(\d{4})_(\d\d)", name) for name in names]
    found = [date(int(name[1]), int(name[2]), 1) for name in named if name is not None]
    return [*([BEFORE] if BEFORE_TABLE in names else []), *sorted(found)]


def _missing(connection: sa.Connection) -> list[date]:
    wanted = [_present(connection)]
    while len(wanted) <= AHEAD:
        wanted.append(following(wanted[-1]))
    there = months(connection)
    return [month for month in wanted if month not in there]


def _present(connection: sa.Connection) -> date:
    now: date = connection.execute(sa.text("SELECT (now() AT TIME ZONE 'UTC')::date")).scalar_one()
    return now.replace(day=1)


def _holds(connection: sa.Connection, table: str, month: date) -> bool:
    rows = sa.select(sa.literal(1)).select_from(sa.table(table)).where(sa.column("month") == month)
    return bool(connection.scalar(sa.select(sa.exists(rows))))


def _alone(connection: sa.Connection) -> None:
    """One at a time, and giving up soon: who waits for a table keeps everybody behind it waiting too."""
    _run(connection, f"SET LOCAL lock_timeout = {LOCKED_WITHIN_MS}")
    _run(connection, f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})")


def _run(connection: sa.Connection, statement: str) -> None:
    connection.execute(sa.text(statement))
