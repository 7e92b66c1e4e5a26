"""Sessions, patients, reviews and the audit trail in the database. Every query is limited to what its account may see.

A patient sees their own rows, a physiotherapist those of assigned patients, an admin all.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.accounts.store import Account
from relay.auth import Role
from relay.db.physio import (
    access_logs,
    assignments,
    exercise_sessions,
    exercise_types,
    patients,
    physiotherapists,
    session_counts,
    session_reviews,
    session_statistics,
    users,
)
from relay.db.transactions import Row, first, rows, transaction

_patient_user = users.alias("patient_user")
_physio_user = users.alias("physio_user")


@dataclass(frozen=True, slots=True)
class Filters:
    """Selects sessions; None means any."""

    patient: str | None = None
    exercise: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Period:
    """Sessions created from `since` on and before `until`; None means unbounded."""

    since: datetime | None = None
    until: datetime | None = None


def _full_name(user: Any) -> Any:
    spoken = sa.func.trim(sa.func.coalesce(user.c.first_name, "") + " " + sa.func.coalesce(user.c.last_name, ""))
    return sa.case((spoken == "", user.c.email), else_=spoken)


def _theirs(account: Account, patient: sa.ColumnElement[str] = patients.c.id) -> sa.ColumnElement[bool]:
    """SQL condition: rows whose `patient` this account may see."""
    if account.role is Role.ADMIN:
        return sa.true()
    if account.role is Role.PATIENT:
        return patient == account.patient_id
    mine = sa.select(assignments.c.patient_id).where(
        assignments.c.physiotherapist_id == account.physiotherapist_id, assignments.c.status == "active"
    )
    return patient.in_(mine)


_SESSIONS = (
    exercise_sessions.join(patients, patients.c.id == exercise_sessions.c.patient_id)
    .join(_patient_user, _patient_user.c.id == patients.c.user_id)
    .outerjoin(exercise_types, exercise_types.c.id == exercise_sessions.c.exercise_type_id)
    .outerjoin(session_statistics, session_statistics.c.session_id == exercise_sessions.c.id)
)
_SHOWN = (
    *(column for column in exercise_sessions.c if column.name not in ("physiotherapist_id", "exercise_type_id")),
    exercise_types.c.name.label("exercise_type"),
    _full_name(_patient_user).label("patient_name"),
    patients.c.consent_given,
    *(column for column in session_statistics.c if column.name not in ("session_id", "summary")),
)


def _sum_of_patient(*wanted: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    """Number of sessions of a row of `patients` that meet the conditions."""
    kept = session_counts.c
    query = sa.select(sa.func.coalesce(sa.func.sum(kept.sessions), 0)).where(kept.patient_id == patients.c.id, *wanted)
    return query.correlate(patients).scalar_subquery()


_LAST_SESSION = (
    sa.select(sa.func.max(exercise_sessions.c.start_time))
    .where(exercise_sessions.c.patient_id == patients.c.id)
    .correlate(patients)
    .scalar_subquery()
)


class PhysioStore:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    # -- sessions ------------------------------------------------------------------------------------------------

    async def session(self, account: Account, session: str) -> Row | None:
        query = sa.select(*_SHOWN).select_from(_SESSIONS).where(exercise_sessions.c.id == session, _theirs(account))
        async with transaction(self._engine) as connection:
            return await first(connection, query)

    async def sessions(self, account: Account, filters: Filters, page: int, per_page: int) -> tuple[list[Row], int]:
        """One page of sessions, newest first, and their total number."""
        own, kept = exercise_sessions.c, session_counts.c
        wanted = [_theirs(account, own.patient_id), *_conditions(filters)]
        newest = (own.created_at.desc(), own.id.desc())
        counted = [_theirs(account, kept.patient_id), *_conditions(filters, session_counts)]
        count = sa.select(sa.func.coalesce(sa.func.sum(kept.sessions), 0)).where(*counted)
        chosen = sa.select(own.id).where(*wanted).order_by(*newest).limit(per_page).offset((page - 1) * per_page)
        query = sa.select(*_SHOWN).select_from(_SESSIONS).where(own.id.in_(sa.select(chosen.subquery().c.id)))
        async with transaction(self._engine) as connection:
            total = int((await connection.execute(count)).scalar_one())
            found = await rows(connection, query.order_by(*newest))
        return found, total

    async def progress(self, account: Account, filters: Filters, period: Period, limit: int) -> list[Row]:
        """The newest `limit` sessions that have frames, oldest first."""
        wanted = [_theirs(account), session_statistics.c.frame_count > 0, *_conditions(filters), *_within(period)]
        query = sa.select(*_SHOWN).select_from(_SESSIONS).where(*wanted)
        async with transaction(self._engine) as connection:
            found = await rows(connection, query.order_by(exercise_sessions.c.start_time.desc()).limit(limit))
        return found[::-1]

    async def appointments(self, account: Account, filters: Filters, period: Period, limit: int) -> list[Row]:
        """The newest `limit` sessions, whether done or not: their times, patient, and number of frames."""
        own = exercise_sessions.c
        columns = (own.patient_id, own.scheduled_datetime, own.start_time, own.created_at)
        shown = (_full_name(_patient_user).label("patient_name"), session_statistics.c.frame_count)
        wanted = [_theirs(account), *_conditions(filters), *_within(period)]
        query = sa.select(*columns, *shown).select_from(_SESSIONS).where(*wanted)
        async with transaction(self._engine) as connection:
            return await rows(connection, query.order_by(own.created_at.desc()).limit(limit))

    async def create_session(self, values: dict[str, Any], estimated_duration: int | None) -> str:
        session = str(uuid.uuid4())
        statistics = {"session_id": session, "estimated_duration": estimated_duration}
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(sa.insert(exercise_sessions).values(id=session, **values))
            await connection.execute(sa.insert(session_statistics).values(**statistics))
        return session

    async def update_session(self, session: str, values: dict[str, Any], statistics: dict[str, Any]) -> None:
        async with transaction(self._engine, write=True) as connection:
            if values:
                query = sa.update(exercise_sessions).where(exercise_sessions.c.id == session)
                await connection.execute(query.values(**values))
            if statistics:
                also = sa.update(session_statistics).where(session_statistics.c.session_id == session)
                await connection.execute(also.values(**statistics))

    async def delete_session(self, session: str) -> None:
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(sa.delete(exercise_sessions).where(exercise_sessions.c.id == session))

    async def exercise(self, name: str, *, make: bool) -> str | None:
        """Id of the exercise with this name; it is created if missing and `make` is true, otherwise None."""
        query = sa.select(exercise_types.c.id).where(exercise_types.c.name == name)
        async with transaction(self._engine, write=True) as connection:
            found = await first(connection, query)
            if found is not None or not make:
                return str(found["id"]) if found else None
            identity = str(uuid.uuid4())
            await connection.execute(sa.insert(exercise_types).values(id=identity, name=name))
        return identity

    # -- patients ------------------------------------------------------------------------------------------------

    async def patient(self, account: Account, patient: str) -> Row | None:
        """The patient's row with the person's names, if this account may see it."""
        person = (_patient_user.c.email, _patient_user.c.first_name, _patient_user.c.last_name, _patient_user.c.phone)
        query = (
            sa.select(patients, *person, _full_name(_patient_user).label("name"))
            .select_from(patients.join(_patient_user, _patient_user.c.id == patients.c.user_id))
            .where(patients.c.id == patient, _theirs(account))
        )
        async with transaction(self._engine) as connection:
            return await first(connection, query)

    async def update_patient(self, account: Account, person: dict[str, Any], patient: dict[str, Any]) -> None:
        async with transaction(self._engine, write=True) as connection:
            if person:
                await connection.execute(sa.update(users).where(users.c.id == account.id).values(**person))
            if patient:
                own = sa.update(patients).where(patients.c.id == account.patient_id)
                await connection.execute(own.values(**patient))

    async def patients(self, account: Account, page: int, per_page: int) -> tuple[list[Row], int]:
        """One page of the patients this account may see, with their session counts and last session, and the total
        number.
        """
        mine = patients.join(_patient_user, _patient_user.c.id == patients.c.user_id)
        name = _full_name(_patient_user)
        page_of = (
            sa.select(patients.c.id, name.label("name"), _patient_user.c.email)
            .select_from(mine)
            .where(_theirs(account))
            .order_by(name, patients.c.id)
            .limit(per_page)
            .offset((page - 1) * per_page)
            .subquery()
        )
        query = (
            sa.select(
                *page_of.c,
                patients.c.date_of_birth,
                patients.c.consent_given,
                _sum_of_patient().label("session_count"),
                _sum_of_patient(session_counts.c.status == "review_pending").label("review_pending"),
                _LAST_SESSION.label("last_session_at"),
            )
            .select_from(page_of.join(patients, patients.c.id == page_of.c.id))
            .order_by(page_of.c.name, page_of.c.id)
        )
        count = sa.select(sa.func.count()).select_from(mine).where(_theirs(account))
        async with transaction(self._engine) as connection:
            total = (await connection.execute(count)).scalar_one()
            found = await rows(connection, query)
        return found, total

    # -- reviews -------------------------------------------------------------------------------------------------

    async def review(self, session: str) -> Row | None:
        """The newest review of a session, with who made it."""
        query = (
            sa.select(session_reviews, _full_name(_physio_user).label("physiotherapist_name"))
            .select_from(
                session_reviews.join(
                    physiotherapists, physiotherapists.c.id == session_reviews.c.physiotherapist_id
                ).join(_physio_user, _physio_user.c.id == physiotherapists.c.user_id)
            )
            .where(session_reviews.c.session_id == session)
            .order_by(session_reviews.c.reviewed_at.desc())
            .limit(1)
        )
        async with transaction(self._engine) as connection:
            return await first(connection, query)

    async def add_review(self, session: str, physiotherapist: str, values: dict[str, Any]) -> str:
        """Store a review and mark its session `reviewed` in the same commit."""
        review = str(uuid.uuid4())
        own = {"id": review, "session_id": session, "physiotherapist_id": physiotherapist}
        reviewed = {"status": "reviewed", "physiotherapist_id": physiotherapist}
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(sa.insert(session_reviews).values(**own, **values))
            query = sa.update(exercise_sessions).where(exercise_sessions.c.id == session)
            await connection.execute(query.values(**reviewed))
        return review

    # -- audit ---------------------------------------------------------------------------------------------------

    async def log_access(self, entries: Sequence[dict[str, Any]]) -> None:
        if entries:
            async with transaction(self._engine, write=True) as connection:
                await connection.execute(sa.insert(access_logs), list(entries))


def _conditions(filters: Filters, table: sa.Table = exercise_sessions) -> list[sa.ColumnElement[bool]]:
    """The filters as SQL conditions on `table`: `exercise_sessions`, or `session_counts`."""
    found: list[sa.ColumnElement[bool]] = []
    if filters.patient is not None:
        found.append(table.c.patient_id == filters.patient)
    if filters.exercise is not None:
        named = sa.select(exercise_types.c.id).where(exercise_types.c.name == filters.exercise)
        found.append(table.c.exercise_type_id == named.scalar_subquery())
    if filters.status is not None:
        found.append(table.c.status == filters.status)
    return found


def _within(period: Period) -> list[sa.ColumnElement[bool]]:
    made = exercise_sessions.c.created_at
    since = [made >= period.since] if period.since is not None else []
    return [*since, made < period.until] if period.until is not None else [*since]
