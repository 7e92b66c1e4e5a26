"""Assignments of kits to exercise sessions, in the database: one kit per session, one open session per kit."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.db.physio import exercise_sessions, exercise_types, patients, session_kits
from relay.db.transactions import Row, first, rows, transaction

_JOINED = (
    session_kits.join(exercise_sessions, exercise_sessions.c.id == session_kits.c.session_id)
    .join(patients, patients.c.id == exercise_sessions.c.patient_id)
    .outerjoin(exercise_types, exercise_types.c.id == exercise_sessions.c.exercise_type_id)
)
_SHOWN = (
    *session_kits.c,
    exercise_types.c.name.label("exercise_type"),
    patients.c.consent_given,
)


class LiveStore:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def assign(self, session: str, kit: str, now: datetime) -> None:
        """Assign `kit` to `session` and end its other assignments."""
        table = session_kits
        others = sa.update(table).where(table.c.kit == kit, table.c.session_id != session, table.c.ended_at.is_(None))
        recording = sa.update(exercise_sessions).where(
            exercise_sessions.c.id == session, exercise_sessions.c.status == "pending"
        )
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(others.values(ended_at=now))
            await connection.execute(sa.delete(table).where(table.c.session_id == session))
            await connection.execute(sa.insert(table).values(session_id=session, kit=kit, assigned_at=now))
            await connection.execute(recording.values(status="recording"))

    async def release(self, session: str, now: datetime) -> None:
        table = session_kits
        query = sa.update(table).where(table.c.session_id == session, table.c.ended_at.is_(None))
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(query.values(ended_at=now))

    async def of_session(self, session: str) -> Row | None:
        query = sa.select(*_SHOWN).select_from(_JOINED).where(session_kits.c.session_id == session)
        async with transaction(self._engine) as connection:
            return await first(connection, query)

    async def consented(self, session: str) -> bool:
        """Whether the session's patient has agreed to being recorded."""
        joined = exercise_sessions.join(patients, patients.c.id == exercise_sessions.c.patient_id)
        query = sa.select(patients.c.consent_given).select_from(joined).where(exercise_sessions.c.id == session)
        async with transaction(self._engine) as connection:
            found = await first(connection, query)
        return found is not None and bool(found["consent_given"])

    async def last_saw_patient_of(self, session: str, kit: str) -> bool:
        """Whether the last session `kit` was assigned to belongs to this session's patient."""
        before, wanted = exercise_sessions.alias("before"), exercise_sessions.alias("wanted")
        query = (
            sa.select(
                before.c.patient_id == sa.select(wanted.c.patient_id).where(wanted.c.id == session).scalar_subquery()
            )
            .select_from(session_kits.join(before, before.c.id == session_kits.c.session_id))
            .where(session_kits.c.kit == kit)
            .order_by(session_kits.c.assigned_at.desc())
            .limit(1)
        )
        async with transaction(self._engine) as connection:
            return bool(await connection.scalar(query))

    async def open(self) -> list[Row]:
        """Every session with an open assignment."""
        query = sa.select(*_SHOWN).select_from(_JOINED).where(session_kits.c.ended_at.is_(None))
        async with transaction(self._engine) as connection:
            return await rows(connection, query)
