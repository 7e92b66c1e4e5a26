"""Queries for recordings that may be due, their removal and thinning (fenced), and holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from core.contracts.columns import pack, unpack
from relay.cluster.leases import Fence
from relay.db import months
from relay.db.models import scg_chunks, scg_holds, scg_sessions
from relay.db.months import read_month
from relay.db.physio import session_kits, session_reviews
from relay.db.transactions import first, rows, transaction
from relay.errors import SessionNotFound
from relay.retention.rules import DAY_MS, Fate, Policy, Recording, thinned

LOOKED_AT = 500
CHUNKS_AT_ONCE = 200
WHOLE_MONTH = 20_000
"""Most recordings removed in one statement; those of a larger month are removed one by one."""

Judge = Callable[[Recording], Fate]
_sessions, _chunks, _holds = scg_sessions.c, scg_chunks.c, scg_holds.c


@dataclass(frozen=True, slots=True)
class Month:
    """A month of which nothing is to stay, as judged; `newest` is the id of its newest chunk."""

    month: date
    recordings: frozenset[str]
    newest: int | None


class RetentionStore:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._dialect: Any = postgresql if engine.dialect.name == "postgresql" else sqlite

    async def old(self, policy: Policy, now_ms: float, after: str = "") -> list[Recording]:
        """Recordings that may be due, with ids after `after`, ordered by id; at most LOOKED_AT."""
        async with transaction(self._engine) as connection:
            return await _recordings(connection, _of_age(policy, now_ms), _sessions.id > after, limit=LOOKED_AT)

    async def months(self, before_ms: float) -> list[date]:
        """The months with a table of their own that ended before that time."""
        if self._dialect is sqlite:
            return []
        async with transaction(self._engine) as connection:
            found = await connection.run_sync(months.over)
        ends = datetime.fromtimestamp(before_ms / 1000, UTC).date()
        return [month for month in found if months.following(month) < ends]

    async def whole(self, month: date, judge: Judge) -> Month | None:
        """All recordings of a month if each is to be removed; None when one is to stay or there are too many."""
        found: set[str] = set()
        async with transaction(self._engine) as connection:
            newest = await connection.run_sync(months.newest, month)
            last = ""
            while page := await _recordings(connection, _sessions.month == month, _sessions.id > last, limit=LOOKED_AT):
                found |= {one.id for one in page}
                if len(found) > WHOLE_MONTH or any(judge(one) is not Fate.REMOVE for one in page):
                    return None
                last = page[-1].id
        return Month(month, frozenset(found), newest) if found else None

    async def remove_month(self, whole: Month, fence: Fence) -> bool:
        """Remove a month at once, unless since it was judged something was added or a recording was held."""
        of_month = sa.select(_sessions.id).where(_sessions.month == whole.month).with_for_update()
        holds = sa.select(_holds.session_id).join(scg_sessions).where(_sessions.month == whole.month)
        async with transaction(self._engine, write=True) as connection:
            await fence(connection)
            newest = await connection.run_sync(months.hold_still, whole.month)
            found = {row["id"] for row in await rows(connection, of_month)}
            if newest != whole.newest or found != whole.recordings or await rows(connection, holds):
                return False
            await connection.run_sync(months.clear, whole.month)
            await connection.execute(sa.delete(scg_sessions).where(_sessions.id.in_(found)))
        return True

    async def remove(self, session: str, judge: Judge, fence: Fence) -> bool:
        """Remove a recording with all its samples, if that is still its fate once its row is locked."""
        async with transaction(self._engine, write=True) as connection:
            await fence(connection)
            if not await self._still(connection, session, judge, Fate.REMOVE):
                return False
            await connection.execute(sa.delete(scg_sessions).where(_sessions.id == session))
        return True

    async def thin(self, session: str, hz: float, judge: Judge, fence: Fence) -> int:
        """Thin every chunk of a recording, CHUNKS_AT_ONCE per transaction; returns the number of samples left out."""
        gone, last = 0, 0
        while True:
            async with transaction(self._engine, write=True) as connection:
                await fence(connection)
                if not await self._still(connection, session, judge, Fate.THIN):
                    return gone
                month = await read_month(connection, session)
                query = sa.select(_chunks.id, _chunks.month, _chunks.body, _chunks.samples).where(
                    _chunks.session_id == session, _chunks.month == month, _chunks.id > last
                )
                found = await rows(connection, query.order_by(_chunks.id).limit(CHUNKS_AT_ONCE))
                gone += await self._thin(connection, found, hz)
                if not found:
                    done = sa.update(scg_sessions).where(_sessions.id == session).values(thinned_hz=hz)
                    await connection.execute(done)
                    return gone
                last = found[-1]["id"]

    async def _thin(self, connection: AsyncConnection, found: list[dict[str, Any]], hz: float) -> int:
        changed = await asyncio.to_thread(lambda: [row for one in found if (row := _thinned(one, hz)) is not None])
        if changed:
            names = [name for name in changed[0] if name not in ("number", "of", "gone")]
            one = (_chunks.id == sa.bindparam("number"), _chunks.month == sa.bindparam("of"))
            update = sa.update(scg_chunks).where(*one)
            values = [{key: value for key, value in row.items() if key != "gone"} for row in changed]
            await connection.execute(update.values({name: sa.bindparam(name) for name in names}), values)
        return sum(row["gone"] for row in changed)

    async def _still(self, connection: AsyncConnection, session: str, judge: Judge, wanted: Fate) -> bool:
        """Whether that is still its fate. The row is locked first, so that no hold can be put on it meanwhile."""
        locked = await first(connection, sa.select(_sessions.id).where(_sessions.id == session).with_for_update())
        found = await _recordings(connection, _sessions.id == session, limit=1) if locked else []
        return bool(found) and judge(found[0]) is wanted

    # -- holds -----------------------------------------------------------------------------------------------------

    async def hold(self, session: str, who: str, why: str, at_ms: float) -> None:
        """Keep a recording unchanged until it is released. SessionNotFound when there is no such recording."""
        statement = self._dialect.insert(scg_holds).values(session_id=session, who=who, why=why, at_ms=at_ms)
        again = statement.on_conflict_do_update(index_elements=["session_id"], set_={"who": who, "why": why})
        try:
            async with transaction(self._engine, write=True) as connection:
                await connection.execute(again)
        except IntegrityError:
            raise SessionNotFound(f"There is no recording {session}.") from None

    async def release(self, session: str) -> bool:
        async with transaction(self._engine, write=True) as connection:
            done = await connection.execute(sa.delete(scg_holds).where(_holds.session_id == session))
        return bool(done.rowcount)

    async def holds(self) -> list[dict[str, Any]]:
        async with transaction(self._engine) as connection:
            return await rows(connection, sa.select(scg_holds).order_by(_holds.at_ms))


def _of_age(policy: Policy, now_ms: float) -> sa.ColumnElement[bool]:
    """Leave out early what its row alone shows to be too young or thinned enough."""
    since = sa.func.coalesce(_sessions.ended_at_ms, _sessions.started_at_ms)

    def before(days: float) -> sa.ColumnElement[bool]:
        return sa.and_(since < now_ms - days * DAY_MS, _sessions.started_at_ms < now_ms - days * DAY_MS)

    thick = sa.or_(_sessions.thinned_hz.is_(None), _sessions.thinned_hz > policy.thin_hz)
    due = [before(policy.remove_days)] if policy.remove_days else []
    return sa.or_(sa.false(), *due, *([sa.and_(before(policy.thin_days), thick)] if policy.thin_days else []))


async def _recordings(connection: AsyncConnection, *which: sa.ColumnElement[bool], limit: int) -> list[Recording]:
    """Recordings ordered by id, with all that is needed to judge them, in two queries however many they are."""
    of_it = (_chunks.session_id == _sessions.id, _chunks.month == _sessions.month)
    newest = sa.select(sa.func.max(_chunks.t_max)).where(*of_it).correlate(scg_sessions).scalar_subquery()
    held = sa.exists().where(_holds.session_id == _sessions.id).correlate(scg_sessions)
    query = sa.select(scg_sessions, newest.label("newest_t"), held.label("held")).where(*which)
    found = await rows(connection, query.order_by(_sessions.id).limit(limit))
    awaits = await _awaits(connection, {row["kit"] for row in found if row["kit"]})
    return [
        Recording(
            id=row["id"],
            started_ms=row["started_at_ms"],
            ended_ms=row["ended_at_ms"],
            newest_t=row["newest_t"],
            thinned_hz=row["thinned_hz"],
            held=bool(row["held"]),
            awaits=tuple(awaits.get(row["kit"], ())),
        )
        for row in found
    ]


async def _awaits(connection: AsyncConnection, kits: set[str]) -> dict[str, list[tuple[float, float | None]]]:
    """For each kit, the times of exercises that nobody has reviewed, as [from, to] in epoch ms."""
    if not kits:
        return {}
    of, reviews = session_kits.c, session_reviews.c
    reviewed = sa.exists().where(reviews.session_id == of.session_id)
    found = await rows(connection, sa.select(of.kit, of.assigned_at, of.ended_at).where(of.kit.in_(kits), ~reviewed))
    seen: dict[str, list[tuple[float, float | None]]] = {}
    for one in found:
        end = one["ended_at"].timestamp() * 1000 if one["ended_at"] else None
        seen.setdefault(one["kit"], []).append((one["assigned_at"].timestamp() * 1000, end))
    return seen


def _thinned(chunk: dict[str, Any], hz: float) -> dict[str, Any] | None:
    """A chunk's thinned columns; None when nothing changes, or nothing finite would be left."""
    less = thinned(unpack(chunk["body"]), hz)
    if not len(less) or len(less) == chunk["samples"]:
        return None
    return {
        "number": chunk["id"],
        "of": chunk["month"],
        "body": pack(less),
        "samples": len(less),
        "t_min": float(less.t.min()),
        "t_max": float(less.t.max()),
        "gone": chunk["samples"] - len(less),
    }
