"""The fleet in the database. Kits' reports may be written late; operators' requests are committed before the answer.

The two are in separate columns, and a request is computed from the row it changes, in one transaction: relays of a
cluster write at the same time, and none overwrites what another wrote.
"""

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

from relay.db.fleet import (
    fleet_audit,
    fleet_diagnostics,
    fleet_kits,
    fleet_packages,
    fleet_releases,
    fleet_rollouts,
)
from relay.db.transactions import first, rows, transaction
from relay.errors import StoreUnavailable
from relay.fleet import rules
from relay.fleet.rules import Kit, Release, Rollout, Told

REST_S = 2.0
"""Seconds between two commits of kits' reports: what a kill -9 loses is reported again with the next status."""
RETRY_S = 5.0
LOCKED = sa.text("LOCK TABLE fleet_rollouts IN SHARE ROW EXCLUSIVE MODE")
"""For PostgreSQL; in SQLite there is only one writer anyway."""
_T = TypeVar("_T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Deed:
    """An operator's request, for the audit trail."""

    at_ms: int
    who: str
    kit: str | None
    action: str
    detail: str


class FleetStore:
    """`run` writes the reports given to `put`; everything else is committed when it returns."""

    def __init__(self, engine: AsyncEngine, committed: Callable[[Sequence[Told]], None] = lambda _: None) -> None:
        """`committed` is called with the reports given to `put` once they are written."""
        self._engine, self._committed = engine, committed
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
        """Commit the waiting reports; what could not be committed keeps waiting."""
        changed, self._changed = self._changed, {}
        if not changed:
            return
        try:
            await self.keep_told(changed.values())
        except StoreUnavailable:
            self._changed = {**changed, **self._changed}
            raise

    async def keep_told(self, kits: Iterable[Kit]) -> None:
        """Store what these kits reported. What they should have is written only for kits not stored yet."""
        told = [(kit, rules.told(kit)) for kit in kits]
        found = [{"name": kit.name, "body": _wished(kit), "told": _json(said)} for kit, said in told]
        async with transaction(self._engine, write=True) as connection:
            await self._upsert(connection, fleet_kits, found, only=("told",))
        self._committed([said for _, said in told])

    async def add(self, kits: Iterable[Kit], deeds: Iterable[Deed] = ()) -> None:
        """Store expected kits; those already stored stay as they are."""
        found = [{"name": kit.name, "body": _wished(kit)} for kit in kits]
        async with transaction(self._engine, write=True) as connection:
            if found:
                await connection.execute(self._dialect.insert(fleet_kits).on_conflict_do_nothing(), found)
            await _note(connection, deeds)

    async def note(self, deed: Deed) -> None:
        async with transaction(self._engine, write=True) as connection:
            await _note(connection, [deed])

    async def change(self, name: str, change: Callable[[Kit], tuple[Kit, Deed]]) -> Kit:
        """Replace what a kit should have by what `change` makes of it. If `change` raises, nothing is changed."""
        of_kit = sa.select(fleet_kits).where(fleet_kits.c.name == name).with_for_update()
        async with transaction(self._engine, write=True) as connection:
            row = await first(connection, of_kit)
            kit, deed = change(_kit(row) if row is not None else Kit(name))
            await self._upsert(connection, fleet_kits, [{"name": name, "body": _wished(kit)}], only=("body",))
            await _note(connection, [deed])
        return kit

    async def forget(self, kit: str, deed: Deed) -> None:
        self._changed.pop(kit, None)
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(sa.delete(fleet_kits).where(fleet_kits.c.name == kit))
            await connection.execute(sa.delete(fleet_diagnostics).where(fleet_diagnostics.c.kit == kit))
            await _note(connection, [deed])

    async def kits(self) -> list[Kit]:
        async with transaction(self._engine) as connection:
            return [_kit(row) for row in await rows(connection, sa.select(fleet_kits))]

    async def kit(self, name: str) -> Kit | None:
        async with transaction(self._engine) as connection:
            row = await first(connection, sa.select(fleet_kits).where(fleet_kits.c.name == name))
        return _kit(row) if row is not None else None

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

    async def change_rollouts(self, change: Callable[[list[Rollout]], tuple[Rollout, Deed] | None]) -> Rollout | None:
        """Store the rollout that `change` makes from all existing ones; None if `change` wanted nothing."""
        async with transaction(self._engine, write=True) as connection:
            if self._dialect is postgresql:
                await connection.execute(LOCKED)
            found = await rows(connection, sa.select(fleet_rollouts.c.body))
            made = change([msgspec.json.decode(row["body"], type=Rollout) for row in found])
            if made is None:
                return None
            rollout, deed = made
            await self._upsert(connection, fleet_rollouts, [{"id": rollout.id, "body": _json(rollout)}])
            await _note(connection, [deed])
        return rollout

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

    async def _upsert(
        self, connection: AsyncConnection, table: sa.Table, found: list[dict[str, Any]], only: Iterable[str] = ()
    ) -> None:
        """Insert or update rows. `only` names the columns to update in existing rows; without it, all."""
        if not found:
            return
        keys = [column.name for column in table.primary_key]
        statement = self._dialect.insert(table)
        new = {name: statement.excluded[name] for name in only or found[0] if name not in keys}
        await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=new), found)


async def _note(connection: AsyncConnection, deeds: Iterable[Deed]) -> None:
    found = [
        {"at_ms": one.at_ms, "who": one.who, "kit": one.kit, "action": one.action, "detail": one.detail}
        for one in deeds
    ]
    if found:
        await connection.execute(sa.insert(fleet_audit), found)


def _kit(row: dict[str, Any]) -> Kit:
    """A kit from its row. Rows older than the second column have everything in the first."""
    kit = msgspec.json.decode(row["body"], type=Kit)
    if row["told"] is not None:
        said = msgspec.json.decode(row["told"], type=Told)
        kit.seen_ms, kit.online, kit.report = said.seen_ms, said.online, said.report
    return kit


def _wished(kit: Kit) -> str:
    return _json(Kit(kit.name, kit.added_ms, kit.tags, kit.desired))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
