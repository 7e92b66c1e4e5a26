"""Months as PostgreSQL's own partitions: a table of each is made ahead, and attached.

What finds no table of its month lies in the default one: nothing is refused, and nothing is moved out of it.
"""

from __future__ import annotations

import re
from datetime import date

import sqlalchemy as sa
import structlog

from relay.db.models import BEFORE

BEFORE_TABLE, DEFAULT_TABLE = "scg_chunks_before", "scg_chunks_default"

log = structlog.get_logger(__name__)


def tables(connection: sa.Connection) -> dict[date, str]:
    """The months that have a table, the oldest first, and its name."""
    children = sa.text(
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = :of ::regclass"
    )
    names = connection.scalars(children, {"of": "scg_chunks"}).all()
    named = [re.fullmatch(r"scg_chunks_(\d{4})_(\d\d)", name) for name in names]
    found = {date(int(name[1]), int(name[2]), 1): name[0] for name in named if name is not None}
    before = {BEFORE: BEFORE_TABLE} if BEFORE_TABLE in names else {}
    return before | dict(sorted(found.items()))


def make(connection: sa.Connection, month: date, following: date) -> None:
    """Attached, not made in its place: those who read and write meanwhile hardly wait.

    A month that has begun in the default table stays there: nothing is moved, and nobody waits for it.
    """
    if _begun_in_default(connection, month):
        log.warning("month_stays_in_default", month=str(month))
        return
    table, bounds = f"scg_chunks_{month:%Y_%m}", f"FROM ('{month}') TO ('{following}')"
    connection.execute(sa.text(f"CREATE TABLE {table} (LIKE scg_chunks INCLUDING DEFAULTS INCLUDING STORAGE)"))
    connection.execute(sa.text(f"ALTER TABLE scg_chunks ATTACH PARTITION {table} FOR VALUES {bounds}"))
    log.info("month_made", table=table)


def drop(connection: sa.Connection, month: date) -> None:
    connection.execute(sa.text(f"DROP TABLE {tables(connection)[month]}"))


def _begun_in_default(connection: sa.Connection, month: date) -> bool:
    rows = sa.select(sa.literal(1)).select_from(sa.table(DEFAULT_TABLE)).where(sa.column("month") == month)
    return bool(connection.scalar(sa.select(sa.exists(rows))))
