"""All rows of one patient, for reading or erasing them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.db.physio import (
    access_logs,
    exercise_sessions,
    exercise_types,
    patients,
    physiotherapists,
    session_reviews,
    session_statistics,
    users,
)
from relay.db.transactions import Row, first, rows, transaction


class RecordStore:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def patient(self, patient: str) -> Row | None:
        """The patient's row with the person's name, e-mail and phone; sealed columns stay sealed."""
        person = (users.c.email, users.c.first_name, users.c.last_name, users.c.phone)
        query = sa.select(patients, *person).join(users, users.c.id == patients.c.user_id)
        async with transaction(self._engine) as connection:
            return await first(connection, query.where(patients.c.id == patient))

    async def patient_of(self, email: str) -> str | None:
        """Id of the patient with this e-mail address; None if there is none."""
        query = sa.select(patients.c.id).join(users, users.c.id == patients.c.user_id)
        async with transaction(self._engine) as connection:
            row = await first(connection, query.where(users.c.email == email.strip().lower()))
        return str(row["id"]) if row else None

    async def sessions(self, patient: str) -> list[Row]:
        """Every session, oldest first, with its statistics."""
        own, counted = exercise_sessions.c, session_statistics.c
        query = (
            sa.select(exercise_sessions, exercise_types.c.name.label("exercise_type"), *_but(counted, "session_id"))
            .outerjoin(exercise_types, exercise_types.c.id == own.exercise_type_id)
            .outerjoin(session_statistics, counted.session_id == own.id)
            .where(own.patient_id == patient)
            .order_by(own.created_at, own.id)
        )
        async with transaction(self._engine) as connection:
            return await rows(connection, query)

    async def reviews(self, session: str) -> list[Row]:
        query = (
            sa.select(*_but(session_reviews.c, "physiotherapist_id"), users.c.first_name, users.c.last_name)
            .outerjoin(physiotherapists, physiotherapists.c.id == session_reviews.c.physiotherapist_id)
            .outerjoin(users, users.c.id == physiotherapists.c.user_id)
            .where(session_reviews.c.session_id == session)
            .order_by(session_reviews.c.reviewed_at)
        )
        async with transaction(self._engine) as connection:
            return await rows(connection, query)

    async def accesses(self, about: Sequence[str]) -> list[Row]:
        """Audit entries about these ids: who did what and when, oldest first."""
        seen = access_logs.c
        columns = (seen.timestamp, seen.action, seen.resource_type, seen.resource_id, users.c.role)
        query = sa.select(*columns, users.c.first_name, users.c.last_name)
        query = query.outerjoin(users, users.c.id == seen.user_id).order_by(seen.timestamp)
        found: list[Row] = []
        async with transaction(self._engine) as connection:
            for start in range(0, len(about), 500):
                found += await rows(connection, query.where(seen.resource_id.in_(about[start : start + 500])))
        return sorted(found, key=lambda row: row["timestamp"])

    async def erase(self, patient: str, user: str, entry: dict[str, Any]) -> None:
        """Delete all rows of the patient and the account, in one commit with the audit entry `entry`.

        The audit trail stays. In the patient's own entries the user id, address and user agent are cleared.
        """
        theirs = sa.update(access_logs).where(access_logs.c.user_id == user)
        async with transaction(self._engine, write=True) as connection:
            if connection.dialect.name == "sqlite":
                await connection.exec_driver_sql("PRAGMA secure_delete=ON")
            await connection.execute(theirs.values(user_id=None, ip_address=None, user_agent=None))
            await connection.execute(sa.delete(exercise_sessions).where(exercise_sessions.c.patient_id == patient))
            await connection.execute(sa.delete(users).where(users.c.id == user))
            await connection.execute(sa.insert(access_logs), [entry])
        await self._forget_journal()

    async def _forget_journal(self) -> None:
        """SQLite's write-ahead log still holds erased rows until a checkpoint; PostgreSQL's vacuum removes them by
        itself.
        """
        if self._engine.dialect.name == "sqlite":
            async with self._engine.connect() as connection:
                await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    async def note(self, entry: dict[str, Any]) -> None:
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(sa.insert(access_logs), [entry])


def _but(columns: Any, *left_out: str) -> list[sa.ColumnElement[Any]]:
    return [column for column in columns if column.name not in left_out]
