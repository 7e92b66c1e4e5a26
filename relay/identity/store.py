"""Claims, kits, certificates and their audit trail in the database. Every change and its audit row are one
transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from relay.db.identity import audit, certificates, claims, kits
from relay.db.physio import sign_ins
from relay.db.transactions import Row, first, rows, transaction
from relay.entrance.standing import Ended


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim without its code, which is not stored."""

    id: str
    kit: str
    made_at: datetime
    made_by: str
    expires_at: datetime
    withdrawn_at: datetime | None = None
    spent_at: datetime | None = None
    serial: str | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    serial: str
    kit: str
    key: str
    not_before: datetime
    not_after: datetime
    pem: str
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KitIdentity:
    """An enrolled kit and its newest certificate."""

    kit: str
    enrolled_at: datetime
    revoked_at: datetime | None
    revoked_why: str | None
    serial: str | None
    not_after: datetime | None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the audit trail."""

    at: datetime
    what: str
    kit: str | None
    who: str
    address: str | None = None
    detail: str = ""


_KIT = [column for column in kits.c if column.name != "tokens_since"]
_CLAIM = [column for column in claims.c if column.name != "digest"]


class IdentityStore:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add_claims(self, made: Sequence[tuple[Claim, str]], by: Sequence[Entry]) -> None:
        """Store claims with the digests of their codes."""
        async with transaction(self._engine, write=True) as connection:
            values = [{**_values(claim), "digest": digest} for claim, digest in made]
            await connection.execute(sa.insert(claims), values)
            await connection.execute(sa.insert(audit), [_values(entry) for entry in by])

    async def claim(self, digest: str) -> Claim | None:
        async with transaction(self._engine) as connection:
            row = await first(connection, sa.select(*_CLAIM).where(claims.c.digest == digest))
        return Claim(**row) if row else None

    async def list_claims(self, most: int) -> list[Claim]:
        query = sa.select(*_CLAIM).order_by(claims.c.made_at.desc(), claims.c.kit).limit(most)
        async with transaction(self._engine) as connection:
            return [Claim(**row) for row in await rows(connection, query)]

    async def withdraw(self, which: str, now: datetime, by: Entry) -> int:
        """Withdraw the open claims with this id or for this kit; returns how many."""
        mine = sa.or_(claims.c.id == which, claims.c.kit == which)
        open_ = sa.and_(mine, claims.c.spent_at.is_(None), claims.c.withdrawn_at.is_(None))
        async with transaction(self._engine, write=True) as connection:
            done = await connection.execute(sa.update(claims).where(open_).values(withdrawn_at=now))
            await connection.execute(sa.insert(audit).values(**_values(by)))
        return int(done.rowcount)

    async def spend(self, claim: Claim, made: Certificate, now: datetime, by: Entry) -> bool:
        """Use a claim for a certificate, and replace earlier ones, in one commit. False if another request was
        quicker.
        """
        good = sa.and_(claims.c.id == claim.id, claims.c.spent_at.is_(None), claims.c.withdrawn_at.is_(None))
        spend = sa.update(claims).where(good).values(spent_at=now, serial=made.serial)
        async with transaction(self._engine, write=True) as connection:
            if (await connection.execute(spend)).rowcount == 0:
                return False
            await _revoke_certificates(connection, made.kit, now)
            known = await connection.execute(sa.delete(kits).where(kits.c.kit == made.kit))
            since = now if known.rowcount else None
            await connection.execute(sa.insert(kits).values(kit=made.kit, enrolled_at=now, tokens_since=since))
            await connection.execute(sa.insert(certificates).values(**_values(made)))
            await connection.execute(sa.insert(audit).values(**_values(by)))
        return True

    async def certificate(self, serial: str) -> tuple[Certificate, bool] | None:
        """A certificate, and whether its kit is revoked."""
        query = (
            sa.select(certificates, kits.c.revoked_at.label("kit_revoked_at"))
            .join(kits, kits.c.kit == certificates.c.kit)
            .where(certificates.c.serial == serial)
        )
        async with transaction(self._engine) as connection:
            row = await first(connection, query)
        if row is None:
            return None
        revoked = row.pop("kit_revoked_at") is not None
        return Certificate(**row), revoked

    async def by_key(self, kit: str, key: str) -> Certificate | None:
        """The certificate this kit has for this key, if any."""
        query = sa.select(certificates).where(certificates.c.kit == kit, certificates.c.key == key)
        async with transaction(self._engine) as connection:
            row = await first(connection, query)
        return Certificate(**row) if row else None

    async def add_certificate(self, made: Certificate, by: Entry) -> None:
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(sa.insert(certificates).values(**_values(made)))
            await connection.execute(sa.insert(audit).values(**_values(by)))

    async def revoke(self, kit: str, now: datetime, why: str, by: Entry) -> bool:
        """Revoke the kit, all its certificates and its open claims. False if it was never enrolled and has no claim."""
        async with transaction(self._engine, write=True) as connection:
            values = {"revoked_at": now, "revoked_why": why}
            done = await connection.execute(sa.update(kits).where(kits.c.kit == kit).values(**values))
            if done.rowcount == 0:
                await connection.execute(sa.insert(kits).values(kit=kit, enrolled_at=now, **values))
            await _revoke_certificates(connection, kit, now)
            open_ = sa.and_(claims.c.kit == kit, claims.c.spent_at.is_(None), claims.c.withdrawn_at.is_(None))
            await connection.execute(sa.update(claims).where(open_).values(withdrawn_at=now))
            await connection.execute(sa.insert(audit).values(**_values(by)))
        return bool(done.rowcount)

    async def record(self, entry: Entry) -> None:
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(sa.insert(audit).values(**_values(entry)))

    async def list_kits(self) -> list[KitIdentity]:
        newest = (
            sa.select(certificates.c.kit, sa.func.max(certificates.c.not_after).label("not_after"))
            .group_by(certificates.c.kit)
            .subquery()
        )
        mine = sa.and_(certificates.c.kit == kits.c.kit, certificates.c.not_after == newest.c.not_after)
        query = (
            sa.select(*_KIT, certificates.c.serial, certificates.c.not_after)
            .outerjoin(newest, newest.c.kit == kits.c.kit)
            .outerjoin(certificates, mine)
            .order_by(kits.c.kit)
        )
        async with transaction(self._engine) as connection:
            found = {row["kit"]: KitIdentity(**row) for row in await rows(connection, query)}
        return list(found.values())

    async def trusted_kits(self) -> list[str]:
        query = sa.select(kits.c.kit).where(kits.c.revoked_at.is_(None)).order_by(kits.c.kit)
        async with transaction(self._engine) as connection:
            return [str(row["kit"]) for row in await rows(connection, query)]

    async def list_audit(self, kit: str | None, most: int) -> list[Entry]:
        columns = [column for column in audit.c if column.name != "id"]
        query = sa.select(*columns).order_by(audit.c.id.desc()).limit(most)
        if kit is not None:
            query = query.where(audit.c.kit == kit)
        async with transaction(self._engine) as connection:
            return [Entry(**row) for row in await rows(connection, query)]

    async def revoked_certificates(self, now: datetime) -> list[tuple[str, datetime]]:
        """Serial numbers and revocation times, of revoked certificates that have not expired."""
        c = certificates.c
        query = sa.select(c.serial, c.revoked_at).where(c.revoked_at.is_not(None), c.not_after > now)
        async with transaction(self._engine) as connection:
            return [(row["serial"], row["revoked_at"]) for row in await rows(connection, query)]

    async def ended_sign_ins(self, since: datetime) -> frozenset[str]:
        query = sa.select(sign_ins.c.id).where(sign_ins.c.ended_at >= since)
        async with transaction(self._engine) as connection:
            return frozenset(str(row["id"]) for row in await rows(connection, query))

    async def ended(self, now: datetime, sign_ins_since: datetime) -> Ended:
        async with transaction(self._engine) as connection:
            told = sa.or_(kits.c.revoked_at.is_not(None), kits.c.tokens_since.is_not(None))
            query = sa.select(kits.c.kit, kits.c.tokens_since, kits.c.revoked_at).where(told)
            known = await rows(connection, query)
        return Ended(
            kits=frozenset(row["kit"] for row in known if row["revoked_at"] is not None),
            serials=frozenset(serial for serial, _ in await self.revoked_certificates(now)),
            sign_ins=await self.ended_sign_ins(sign_ins_since),
            since={row["kit"]: row["tokens_since"].timestamp() for row in known if row["tokens_since"] is not None},
        )


async def _revoke_certificates(connection: AsyncConnection, kit: str, now: datetime) -> None:
    still = sa.and_(certificates.c.kit == kit, certificates.c.revoked_at.is_(None))
    await connection.execute(sa.update(certificates).where(still).values(revoked_at=now))


def _values(record: Claim | Certificate | Entry) -> Row:
    return {name: getattr(record, name) for name in record.__slots__}
