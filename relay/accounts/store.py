"""Accounts in the database: users, assignments of patients, sign-ins, and digests of refresh tokens (never the
tokens).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from relay.auth import Role
from relay.db.physio import (
    assignments,
    patients,
    physiotherapists,
    refresh_tokens,
    sign_ins,
    user_access,
    users,
)
from relay.db.transactions import first, rows, transaction
from relay.errors import Conflict, NotFound


@dataclass(frozen=True, slots=True)
class Account:
    """A user. `patient_id` and `physiotherapist_id` are this person's ids in the documented tables."""

    id: str
    email: str
    role: Role
    first_name: str | None = None
    last_name: str | None = None
    patient_id: str | None = None
    physiotherapist_id: str | None = None
    disabled: bool = False

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.first_name, self.last_name))) or self.email


class Rotation(Enum):
    UNKNOWN = auto()
    EXPIRED = auto()
    REUSED = auto()
    DONE = auto()


_ACCOUNT = (
    sa.select(
        users.c.id,
        users.c.email,
        users.c.role,
        users.c.first_name,
        users.c.last_name,
        users.c.password_hash,
        patients.c.id.label("patient_id"),
        physiotherapists.c.id.label("physiotherapist_id"),
        user_access.c.disabled_at,
    )
    .select_from(users)
    .outerjoin(patients, patients.c.user_id == users.c.id)
    .outerjoin(physiotherapists, physiotherapists.c.user_id == users.c.id)
    .outerjoin(user_access, user_access.c.user_id == users.c.id)
)


def _account(row: dict[str, Any]) -> Account:
    known = {key: row[key] for key in ("id", "email", "first_name", "last_name", "patient_id", "physiotherapist_id")}
    return Account(**known, role=Role(row["role"]), disabled=row["disabled_at"] is not None)


class AccountStore:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def by_email(self, email: str) -> tuple[Account, str] | None:
        """The account with this e-mail address and its password hash; None if there is none."""
        async with transaction(self._engine) as connection:
            row = await first(connection, _ACCOUNT.where(users.c.email == email.strip().lower()))
        return (_account(row), row["password_hash"]) if row else None

    async def signed_in(self, sign_in: str) -> Account | None:
        """The user of a sign-in that has not ended; None otherwise."""
        query = _ACCOUNT.join(sign_ins, sign_ins.c.user_id == users.c.id)
        async with transaction(self._engine) as connection:
            row = await first(connection, query.where(sign_ins.c.id == sign_in, sign_ins.c.ended_at.is_(None)))
        return _account(row) if row else None

    async def open_sign_in(self, user: str, digest: str, expires: datetime) -> str:
        sign_in = str(uuid.uuid4())
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(sa.insert(sign_ins).values(id=sign_in, user_id=user))
            await _keep(connection, digest, sign_in, expires)
        return sign_in

    async def rotate(self, digest: str, fresh: str, expires: datetime, now: datetime) -> tuple[Rotation, str | None]:
        """Exchange a refresh token for a new one. A token used twice counts as stolen, and its sign-in ends."""
        tokens = refresh_tokens.c
        async with transaction(self._engine, write=True) as connection:
            use = sa.update(refresh_tokens).where(tokens.digest == digest, tokens.used_at.is_(None)).values(used_at=now)
            used = await first(connection, use.returning(tokens.sign_in_id, tokens.expires_at))
            if used is None:
                known = await first(connection, sa.select(tokens.sign_in_id).where(tokens.digest == digest))
                if known is None:
                    return Rotation.UNKNOWN, None
                await _end(connection, known["sign_in_id"], "reuse", now)
                return Rotation.REUSED, known["sign_in_id"]
            if used["expires_at"] <= now:
                return Rotation.EXPIRED, used["sign_in_id"]
            await _keep(connection, fresh, used["sign_in_id"], expires)
        return Rotation.DONE, used["sign_in_id"]

    async def end_sign_in(self, sign_in: str, why: str, now: datetime) -> None:
        async with transaction(self._engine, write=True) as connection:
            await _end(connection, sign_in, why, now)

    # -- for the operator's commands -----------------------------------------------------------------------------

    async def add(self, email: str, hashed: str, role: Role, **person: Any) -> Account:
        """Create a user, with the row its role needs. Raises Conflict if the address already has an account."""
        consent = person.pop("consent_at", None)
        user = str(uuid.uuid4())
        try:
            async with transaction(self._engine, write=True) as connection:
                values = {"id": user, "email": email.strip().lower(), "password_hash": hashed, "role": role.value}
                await connection.execute(sa.insert(users).values(**values, **person))
                if role is Role.PATIENT:
                    agreed = {"consent_given": consent is not None, "consent_date": consent}
                    await connection.execute(sa.insert(patients).values(user_id=user, **agreed))
                if role is Role.PHYSIOTHERAPIST:
                    await connection.execute(sa.insert(physiotherapists).values(user_id=user))
        except IntegrityError:
            raise Conflict(f"{email} has an account already") from None
        return await self._one(email)

    async def every(self) -> list[Account]:
        async with transaction(self._engine) as connection:
            return [_account(row) for row in await rows(connection, _ACCOUNT.order_by(users.c.email))]

    async def set_password(self, email: str, hashed: str, now: datetime) -> None:
        """Set a user's password and end all their sign-ins."""
        account = await self._one(email)
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(sa.update(users).where(users.c.id == account.id).values(password_hash=hashed))
            await _end_all(connection, account.id, "password", now)

    async def set_disabled(self, email: str, disabled: bool, now: datetime) -> None:
        account = await self._one(email)
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(sa.delete(user_access).where(user_access.c.user_id == account.id))
            if disabled:
                await connection.execute(sa.insert(user_access).values(user_id=account.id, disabled_at=now))
                await _end_all(connection, account.id, "disabled", now)

    async def assign(self, patient: str, physiotherapist: str, active: bool) -> None:
        """Assign a patient to a physiotherapist, or end the assignment; both by e-mail address."""
        theirs, whose = await self._one(patient), await self._one(physiotherapist)
        if theirs.patient_id is None:
            raise NotFound(f"{patient} is no patient")
        if whose.physiotherapist_id is None:
            raise NotFound(f"{physiotherapist} is no physiotherapist")
        pair = {"patient_id": theirs.patient_id, "physiotherapist_id": whose.physiotherapist_id}
        same = sa.and_(*(assignments.c[key] == value for key, value in pair.items()))
        status = "active" if active else "inactive"
        async with transaction(self._engine, write=True) as connection:
            changed = await connection.execute(sa.update(assignments).where(same).values(status=status))
            if changed.rowcount == 0:
                await connection.execute(sa.insert(assignments).values(**pair, status=status))

    async def _one(self, email: str) -> Account:
        found = await self.by_email(email)
        if found is None:
            raise NotFound(f"{email} has no account; `homeside users list` shows who has")
        return found[0]


async def _keep(connection: AsyncConnection, digest: str, sign_in: str, expires: datetime) -> None:
    await connection.execute(sa.insert(refresh_tokens).values(digest=digest, sign_in_id=sign_in, expires_at=expires))


async def _end(connection: AsyncConnection, sign_in: str, why: str, now: datetime) -> None:
    still = sa.and_(sign_ins.c.id == sign_in, sign_ins.c.ended_at.is_(None))
    await connection.execute(sa.update(sign_ins).where(still).values(ended_at=now, ended_why=why))


async def _end_all(connection: AsyncConnection, user: str, why: str, now: datetime) -> None:
    still = sa.and_(sign_ins.c.user_id == user, sign_ins.c.ended_at.is_(None))
    await connection.execute(sa.update(sign_ins).where(still).values(ended_at=now, ended_why=why))
