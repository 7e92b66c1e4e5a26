"""Pose frames in the database. Each frame is stored once per (session, timestamp), in the same commit that updates the
session's statistics.

The statistics row is locked first, so that two clients sending to one session take turns. On PostgreSQL the rows are
written with COPY.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from core.contracts.physio import Frame, PoseData
from relay.db.physio import exercise_sessions, pose_frames, session_statistics
from relay.db.transactions import Row, first, rows, transaction
from relay.errors import NotFound
from relay.physio.rules import Statistics, fresh

COLUMNS = (
    *("id", "session_id", "frame_number", "timestamp_ms", "landmarks", "calculated_angles", "quality_score"),
    *("form_issues", "processing_metadata", "created_at"),
)
_INSERT = f"INSERT INTO pose_frames ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
_RENUMBER = sa.text(
    "UPDATE pose_frames SET frame_number = ordered.n FROM (SELECT id, row_number() OVER (ORDER BY timestamp_ms) AS n "
    "FROM pose_frames WHERE session_id = :session) AS ordered WHERE pose_frames.id = ordered.id"
).bindparams(sa.bindparam("session", type_=sa.Uuid(as_uuid=False)))
_LZ4 = sa.text("SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'")
_COMPRESS = sa.text("SET LOCAL default_toast_compression = 'lz4'")
"""One pose is too large for PostgreSQL to store uncompressed in its row; the default compression takes twice as long as
lz4.
"""
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Added:
    """How many frames of one request were stored and how many were already there, and the session's statistics
    afterwards.
    """

    stored: int
    duplicates: int
    statistics: Statistics


class FrameStore:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._lz4: bool | None = None

    async def add(self, session: str, data: PoseData) -> Added:
        """Store the frames that are new, in one commit. Raises NotFound if the session was deleted in the meantime."""
        table = session_statistics
        async with transaction(self._engine, write=True) as connection:
            lock = sa.update(table).where(table.c.session_id == session).values(frame_count=table.c.frame_count)
            row = await first(connection, lock.returning(*table.c))
            if row is None:
                raise NotFound("Session not found")
            before = Statistics.of_row(row)
            new = fresh(data.frames, await _stored(connection, session, before, data.frames))
            after = before.plus(new)
            await self._insert(connection, session, before.frame_count, new)
            if new and before.last_ms is not None and new[0].timestamp < before.last_ms:
                await connection.execute(_RENUMBER, {"session": session})
            await _keep(connection, session, after, data.summary_statistics, times_given=row["times_given"])
        return Added(len(new), len(data.frames) - len(new), after)

    async def _insert(self, connection: AsyncConnection, session: str, count: int, frames: list[Frame]) -> None:
        if not frames:
            return
        now, owner = datetime.now(UTC), uuid.UUID(session)
        numbered = zip(_identities(), frames, range(count + 1, count + 1 + len(frames)), strict=False)
        if connection.dialect.name == "postgresql":
            await self._compress(connection)
            records = (_record(identity, owner, n, frame, now, _decimal(frame)) for identity, frame, n in numbered)
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            await driver.copy_records_to_table("pose_frames", records=records, columns=COLUMNS)
            return
        made = now.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
        listed = [_record(key.hex, owner.hex, n, frame, made, _rounded(frame)) for key, frame, n in numbered]
        await connection.exec_driver_sql(_INSERT, listed)

    async def _compress(self, connection: AsyncConnection) -> None:
        if self._lz4 is None:
            self._lz4 = bool((await connection.execute(_LZ4)).scalar())
        if self._lz4:
            await connection.execute(_COMPRESS)

    async def angles(self, session: str) -> list[Row]:
        """Time, angles, quality and issues of every frame, ordered by time."""
        columns = pose_frames.c
        wanted = (columns.timestamp_ms, columns.calculated_angles, columns.quality_score, columns.form_issues)
        query = sa.select(*wanted).where(columns.session_id == session).order_by(columns.timestamp_ms)
        async with transaction(self._engine) as connection:
            return await rows(connection, query)

    async def page(self, session: str, after_ms: int, limit: int) -> list[Row]:
        """Up to `limit` frames with landmarks, later than `after_ms`, ordered by time."""
        columns = pose_frames.c
        wanted = (columns.frame_number, columns.timestamp_ms, columns.landmarks, columns.calculated_angles)
        wanted_too = (columns.quality_score, columns.form_issues, columns.processing_metadata)
        query = sa.select(*wanted, *wanted_too).where(columns.session_id == session, columns.timestamp_ms > after_ms)
        async with transaction(self._engine) as connection:
            return await rows(connection, query.order_by(columns.timestamp_ms).limit(limit))

    async def keep_motion(self, session: str, motion: dict[str, Any], frames: int) -> None:
        """Store the result of the movement analysis, and the number of frames it was computed from."""
        query = sa.update(session_statistics).where(session_statistics.c.session_id == session)
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(query.values(motion=motion, motion_frames=frames))


async def _stored(connection: AsyncConnection, session: str, before: Statistics, frames: list[Frame]) -> set[int]:
    """Timestamps already stored in the range of these frames; no query when all of them are later than the last stored
    one.
    """
    times = [frame.timestamp for frame in frames]
    if before.last_ms is None or min(times) > before.last_ms:
        return set()
    column = pose_frames.c.timestamp_ms
    query = sa.select(column).where(pose_frames.c.session_id == session, column.between(min(times), max(times)))
    return set((await connection.execute(query)).scalars())


def _identities() -> Iterator[uuid.UUID]:
    """Increasing ids for the frames of one request (UUIDv7, RFC 9562 section 5.7), so that index trees grow only at
    their end.
    """
    head = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62
    first = secrets.randbits(61)
    for number in range(1 << 61):
        yield uuid.UUID(int=head | first + number)


def _record(identity: Any, session: Any, number: int, frame: Frame, made: Any, quality: Any) -> tuple[Any, ...]:
    return (
        identity,
        session,
        number,
        frame.timestamp,
        _json(frame.landmarks),
        _json(frame.angles),
        quality,
        _json(frame.form_issues),
        _json(frame.processing_metadata),
        made,
    )


def _json(value: object) -> str | None:
    return None if value is None else _encode(value).decode()


def _rounded(frame: Frame) -> float | None:
    return None if frame.quality_score is None else round(frame.quality_score, 2)


def _decimal(frame: Frame) -> Decimal | None:
    return None if frame.quality_score is None else Decimal(f"{frame.quality_score:.2f}")


async def _keep(
    connection: AsyncConnection, session: str, after: Statistics, summary: dict[str, Any] | None, *, times_given: bool
) -> None:
    statistics = sa.update(session_statistics).where(session_statistics.c.session_id == session)
    said = {} if summary is None else {"summary": summary}
    await connection.execute(statistics.values(**after.row(), **said))
    own = exercise_sessions.c
    values: dict[str, Any] = {
        "status": sa.case((own.status.in_(("reviewed", "completed")), own.status), else_="review_pending")
    }
    if not times_given and after.began is not None and after.ended is not None:
        duration = round((after.ended - after.began).total_seconds())
        values |= {"start_time": after.began, "end_time": after.ended, "duration_seconds": duration}
    await connection.execute(sa.update(exercise_sessions).where(own.id == session).values(**values))
