"""Leases: of several relays on one database, one holds a name for a limited time, by the database's clock.

`term` grows with every holder and fences writes: a write under a term that is over fails, however long its relay was
suspended in between.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from relay.cluster.leases import Fence
from relay.db.models import cluster_leases
from relay.db.transactions import first, transaction
from relay.errors import LeaseLost

_columns = cluster_leases.c
_now = sa.func.clock_timestamp()


def _until(lasts_s: float) -> sa.ColumnElement[Any]:
    return _now + sa.func.make_interval(0, 0, 0, 0, 0, 0, lasts_s)


class Leases:
    """Leases in PostgreSQL. StoreUnavailable when it does not answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def take(self, name: str, holder: str, lasts_s: float) -> int | None:
        """Take the lease if nobody holds it; returns its term, else None."""
        taking = insert(cluster_leases).values(name=name, holder=holder, term=1, until=_until(lasts_s))
        anew = {"holder": holder, "term": _columns.term + 1, "until": _until(lasts_s)}
        statement = taking.on_conflict_do_update(index_elements=["name"], set_=anew, where=_columns.until < _now)
        async with transaction(self._engine, write=True) as connection:
            found = await first(connection, statement.returning(_columns.term))
        return int(found["term"]) if found is not None else None

    async def keep(self, name: str, term: int, lasts_s: float) -> bool:
        """Renew the lease; False when another relay holds it by now."""
        own = (_columns.name == name, _columns.term == term)
        statement = sa.update(cluster_leases).where(*own).values(until=_until(lasts_s)).returning(_columns.term)
        async with transaction(self._engine, write=True) as connection:
            return await first(connection, statement) is not None

    def fence(self, name: str, term: int) -> Fence:
        return partial(fence, name=name, term=term)

    async def end(self, name: str, term: int) -> None:
        """Give the lease back, so that the next relay need not wait for it to expire."""
        own = (_columns.name == name, _columns.term == term)
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(sa.update(cluster_leases).where(*own).values(until=_now))


async def fence(connection: AsyncConnection, name: str, term: int) -> None:
    """Let this transaction commit only under that term: until it commits, nobody can take the lease.

    Raises LeaseLost.
    """
    query = sa.select(_columns.term).where(_columns.name == name, _columns.term == term).with_for_update(read=True)
    if await first(connection, query) is None:
        raise LeaseLost(f"Another relay does {name} by now.")
