"""Fingerspelling in the database: calibrations, and the kits' messages, each stored once however often it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.db.models import sign_calibrations, sign_messages
from relay.db.transactions import transaction


class SignStore:
    """Every call is one transaction. Raises StoreUnavailable when the database does not answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def calibration(self, owner: str, name: str) -> tuple[bytes, bytes, bool] | None:
        table = sign_calibrations.c
        query = sa.select(table.hands, table.labels, table.has_z).where(table.owner == owner, table.name == name)
        rows = await self._run(query)
        return (bytes(rows[0][0]), bytes(rows[0][1]), bool(rows[0][2])) if rows else None

    async def keep(self, owner: str, name: str, hands: bytes, labels: bytes, *, has_z: bool) -> None:
        row = {"owner": owner, "name": name, "hands": hands, "labels": labels, "has_z": has_z}
        await self._run(_calibration(owner, name), sa.insert(sign_calibrations).values(**row))

    async def forget(self, owner: str, name: str) -> bool:
        known = await self.calibration(owner, name) is not None
        await self._run(_calibration(owner, name))
        return known

    async def message(self, kit: str, session: str, number: tuple[str, int], body: Any) -> bool:
        """Store a kit's message; False if it was stored before."""
        boot, seq = number
        text = msgspec.json.encode(body).decode()
        row = {"kit": kit, "session_id": session, "boot": boot, "seq": seq, "body": text}
        try:
            await self._run(sa.insert(sign_messages).values(**row))
        except IntegrityError:
            return False
        return True

    async def messages(self, session: str) -> list[dict[str, Any]]:
        table = sign_messages.c
        rows = await self._run(sa.select(table.body).where(table.session_id == session).order_by(table.id))
        return [msgspec.json.decode(row[0]) for row in rows]

    async def _run(self, *statements: sa.Executable) -> Sequence[Any]:
        found: Sequence[Any] = []
        async with transaction(self._engine, write=True) as connection:
            for statement in statements:
                result = await connection.execute(statement)
                found = result.fetchall() if result.returns_rows else []
        return found


def _calibration(owner: str, name: str) -> sa.Delete:
    table = sign_calibrations.c
    return sa.delete(sign_calibrations).where(table.owner == owner, table.name == name)
