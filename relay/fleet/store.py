"""The fleet at rest. How a kit is may be written late; what an operator asks for is committed before it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from relay.cluster.leases import Fence, unfenced
from relay.db.fleet import (
    fleet_audit,
    fleet_diagnostics,
    fleet_kits,
    fleet_packages,
    fleet_releases,
    fleet_rollouts,
)
from relay.db.transactions import first, rows, transaction
from relay.errors import Conflict, StoreUnavailable
from relay.fleet.rules import Kit, Release, Rollout

REST_S = 2.0
"""Between two commits of how kits are: what a kill -9 may cost is told again with the next status."""
RETRY_S = 5.0
_T = TypeVar("_T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Deed:
    """What an operator asked for."""

    at_ms: int
    who: str
    kit: str | None
    action: str
    detail: str


SAID = ("seen_ms", "online", "report", "release")
"""What a kit's status changes; everything else of it is the operators', who may be at another relay."""


class FleetStore:
    """`run` writes what was `put`; everything else is committed when it returns.

    `told` hears the names of the kits that a commit changed, none when it changed releases or rollouts. Of a kit's row
    each write changes what it is about and leaves the rest as whoever wrote it last.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.told: Callable[[list[str]], None] = lambda kits: None
        self._engine = engine
        self._changed: dict[str, Kit] = {}
        self._work = asyncio.Event()
        self._dialect: Any = postgresql if engine.dialect.name == "postgresql" else sqlite

    def put(self, kit: Kit) -> None:
        self._changed[kit.name] = kit
        self._work.set()

    async def run(self) -> None:
        while True:
            await self._work.wait()
            await asyncio.sleep(REST_S)
            self._work.clear()
            try:
                await self.drained()
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)
                self._work.set()

    async def drained(self) -> None:
        """Commit what is waiting; what could not be committed goes on waiting."""
        changed, self._changed = self._changed, {}
        if not changed:
            return
        try:
            await self.save(changed.values(), only=SAID)
        except StoreUnavailable:
            self._changed = {**changed, **self._changed}
            raise

    async def save(
        self, kits: Iterable[Kit], deeds: Iterable[Deed] = (), *, only: Sequence[str] | None = None
    ) -> dict[str, Kit]:
        """What was written: of kits that are there already `only` these fields. Those forgotten meanwhile come back.

        Raises Conflict when a kit's configuration is newer than the one that was to follow it.
        """
        wanted = sorted(kits, key=lambda kit: kit.name)
        async with transaction(self._engine, write=True) as connection:
            there = await _locked(connection, [kit.name for kit in wanted]) if only is not None else {}
            written = [_merged(there.get(kit.name), kit, only or ()) for kit in wanted]
            await self._upsert(connection, fleet_kits, [{"name": kit.name, "body": _json(kit)} for kit in written])
            await _note(connection, deeds)
        self.told([kit.name for kit in written])
        return {kit.name: kit for kit in written}

    async def forget(self, kit: str, deed: Deed) -> None:
        self._changed.pop(kit, None)
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(sa.delete(fleet_kits).where(fleet_kits.c.name == kit))
            await connection.execute(sa.delete(fleet_diagnostics).where(fleet_diagnostics.c.kit == kit))
            await _note(connection, [deed])
        self.told([kit])

    async def kits(self, names: Iterable[str] | None = None) -> list[Kit]:
        """All, or those of these names that there are."""
        if names is None:
            return await self._all(fleet_kits, Kit)
        query = sa.select(fleet_kits.c.body).where(fleet_kits.c.name.in_(sorted(names)))
        async with transaction(self._engine) as connection:
            found = await rows(connection, query)
        return [msgspec.json.decode(row["body"], type=Kit) for row in found]

    async def releases(self) -> list[Release]:
        return await self._all(fleet_releases, Release)

    async def rollouts(self) -> list[Rollout]:
        return await self._all(fleet_rollouts, Rollout)

    async def packages(self) -> dict[str, dict[str, str]]:
        async with transaction(self._engine) as connection:
            found = await rows(connection, sa.select(fleet_packages))
        return {row["digest"]: msgspec.json.decode(row["body"], type=dict[str, str]) for row in found}

    async def keep_packages(self, digest: str, packages: dict[str, str]) -> None:
        async with transaction(self._engine, write=True) as connection:
            await self._upsert(connection, fleet_packages, [{"digest": digest, "body": _json(packages)}])

    async def keep_release(self, release: Release, deed: Deed) -> None:
        row = {"version": release.version, "machine": release.machine, "body": _json(release)}
        async with transaction(self._engine, write=True) as connection:
            await self._upsert(connection, fleet_releases, [row])
            await _note(connection, [deed])
        self.told([])

    async def keep_rollout(self, rollout: Rollout, deed: Deed, fence: Fence = unfenced) -> None:
        async with transaction(self._engine, write=True) as connection:
            await fence(connection)
            await self._upsert(connection, fleet_rollouts, [{"id": rollout.id, "body": _json(rollout)}])
            await _note(connection, [deed])
        self.told([])

    async def keep_diagnostics(self, kit: str, request: str, at_ms: int, body: str) -> None:
        row = {"kit": kit, "request": request, "at_ms": at_ms, "body": body}
        async with transaction(self._engine, write=True) as connection:
            await self._upsert(connection, fleet_diagnostics, [row])

    async def diagnostics(self, kit: str) -> dict[str, Any] | None:
        async with transaction(self._engine) as connection:
            return await first(connection, sa.select(fleet_diagnostics).where(fleet_diagnostics.c.kit == kit))

    async def deeds(self, kit: str, most: int = 50) -> list[dict[str, Any]]:
        table = fleet_audit
        query = sa.select(table).where(table.c.kit == kit).order_by(table.c.id.desc()).limit(most)
        async with transaction(self._engine) as connection:
            return await rows(connection, query)

    async def _all(self, table: sa.Table, kind: type[_T]) -> list[_T]:
        async with transaction(self._engine) as connection:
            found = await rows(connection, sa.select(table.c.body))
        return [msgspec.json.decode(row["body"], type=kind) for row in found]

    async def _upsert(self, connection: AsyncConnection, table: sa.Table, found: list[dict[str, Any]]) -> None:
        if not found:
            return
        keys = [column.name for column in table.primary_key]
        statement = self._dialect.insert(table)
        new = {name: statement.excluded[name] for name in found[0] if name not in keys}
        await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=new), found)


async def _locked(connection: AsyncConnection, names: Sequence[str]) -> dict[str, Kit]:
    """As they stand, held still until the commit."""
    columns = fleet_kits.c
    query = sa.select(columns.body).where(columns.name.in_(names)).order_by(columns.name).with_for_update()
    found = [msgspec.json.decode(row["body"], type=Kit) for row in await rows(connection, query)]
    return {kit.name: kit for kit in found}


def _merged(there: Kit | None, kit: Kit, only: Sequence[str]) -> Kit:
    if there is None:
        return kit
    asked, now = kit.desired, there.desired
    if "desired" in only and asked is not None and now is not None and now.version >= asked.version:
        raise Conflict(f"The settings of {kit.name} are at version {now.version}; look at them again.")
    return msgspec.structs.replace(there, **{name: getattr(kit, name) for name in only})


async def _note(connection: AsyncConnection, deeds: Iterable[Deed]) -> None:
    found = [
        {"at_ms": one.at_ms, "who": one.who, "kit": one.kit, "action": one.action, "detail": one.detail}
        for one in deeds
    ]
    if found:
        await connection.execute(sa.insert(fleet_audit), found)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
