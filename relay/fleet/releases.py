"""Releases and their rollouts: which release each kit should fetch, and when a rollout halts by itself.

A rollout is judged by what kits report; it is extended to more kits only when an operator widens it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from relay.errors import NotFound
from relay.fleet import rules
from relay.fleet.gateway import ReleaseFolder
from relay.fleet.others import Others, Rows
from relay.fleet.rules import Kit, Progress, Release, Rollout, RolloutState
from relay.fleet.store import Deed, FleetStore

MOST_SHOWN = 20
"""Most rollouts listed; older ones are history."""

log = structlog.get_logger(__name__)


class Releases:
    """`kits` is the fleet. `touched` is set when a kit has reported something, so that rollouts are evaluated again.

    `changed`, set by the wiring, is called when kits may want a different release than before.
    """

    def __init__(
        self,
        store: FleetStore,
        folder: ReleaseFolder,
        now_ms: Callable[[], float],
        kits: Mapping[str, Kit],
        others: Others,
    ) -> None:
        self.touched = False
        self.changed: Callable[[], None] = lambda: None
        self._store, self._folder, self._now_ms, self._kits, self._others = store, folder, now_ms, kits, others
        self._releases: dict[tuple[str, str], Release] = {}
        self._rollouts: dict[int, Rollout] = {}
        self._rows = asyncio.Lock()

    async def load(self) -> None:
        async with self._rows:
            self._releases = {(one.version, one.machine): one for one in await self._store.releases()}
            self._rollouts = {one.id: one for one in await self._store.rollouts()}
        self.changed()

    def wanted(self, kit: Kit) -> Release | None:
        """The release this kit should fetch now, if there is a bundle for its platform."""
        rollout = rules.wanted(self._rollouts.values(), kit)
        if rollout is None or kit.report is None:
            return None
        of_platform = self._releases.get((rollout.version, kit.report.platform))
        return of_platform or self._releases.get((rollout.version, ""))

    async def publish(self, who: str, body: AsyncIterator[bytes]) -> Release:
        """Check and store a signed bundle, and pass it to the other relays."""
        taken = await self._folder.take(body)
        manifest = taken.manifest
        await self._others.share(self._folder.path(taken.file))
        release = Release(
            version=manifest.version,
            machine="-".join(filter(None, [manifest.python, manifest.machine])),
            file=taken.file,
            sha256=taken.sha256,
            size=taken.size,
            made=manifest.made,
            added_ms=int(self._now_ms()),
            notes=manifest.notes,
        )
        await self._store.keep_release(release, self._deed(who, "publish", f"{release.version} {release.sha256}"))
        self._releases[release.version, release.machine] = release
        self._tell()
        return release

    def releases(self) -> list[Release]:
        return sorted(self._releases.values(), key=lambda one: (one.added_ms, one.version), reverse=True)

    async def bundle(self, file: str) -> tuple[Path, Release]:
        """Path of a release's bundle, and the release."""
        release = next((one for one in self._releases.values() if one.file == file), None)
        path = await self._folder.fetched(file, release.sha256, self._others.bring) if release is not None else None
        if release is None or path is None:
            raise NotFound("No release of that name is here.")
        return path, release

    async def roll_out(self, who: str, version: str, tag: str, percent: float, most_failed: float) -> Rollout:
        """Start a rollout, or widen (or narrow) the one of this version and tag; a halted one resumes."""
        if not any(version == known for known, _ in self._releases):
            raise NotFound(f"No release {version} is here; publish its bundle first.")

        def made(known: list[Rollout]) -> tuple[Rollout, Deed]:
            rollout = self._made(known, version, tag, percent, most_failed)
            return rollout, self._deed(who, "rollout", f"{version} to {percent:g} % of {tag or 'all kits'}")

        rollout = await self._change(made)
        assert rollout is not None
        return rollout

    def foreseen(self, version: str, tag: str, percent: float) -> Progress:
        """Which kits a rollout would concern, and their present state."""
        return rules.progress(self._made(list(self._rollouts.values()), version, tag, percent, 0), self._kits.values())

    def _made(self, known: list[Rollout], version: str, tag: str, percent: float, most_failed: float) -> Rollout:
        found = next((one for one in known if (one.version, one.tag) == (version, tag)), None)
        number = found.id if found is not None else max((one.id for one in known), default=0) + 1
        created = found.created_ms if found is not None else int(self._now_ms())
        return Rollout(number, version, tag, percent, RolloutState.RUNNING, created, most_failed)

    async def pause(self, who: str, number: int) -> Rollout:
        def paused(known: list[Rollout]) -> tuple[Rollout, Deed]:
            found = next((one for one in known if one.id == number), None)
            if found is None:
                raise NotFound("No rollout of that number.")
            changed = msgspec.structs.replace(found, state=RolloutState.PAUSED)
            return changed, self._deed(who, "rollout", f"{found.version} paused")

        rollout = await self._change(paused)
        assert rollout is not None
        return rollout

    def rollouts(self) -> list[dict[str, Any]]:
        """Rollouts, newest first, each with its progress."""
        newest = sorted(self._rollouts.values(), key=lambda one: one.id, reverse=True)[:MOST_SHOWN]
        return [
            {**msgspec.to_builtins(one), "progress": msgspec.to_builtins(rules.progress(one, self._kits.values()))}
            for one in newest
        ]

    async def watch_for_ever(self, every_s: float = 1.0) -> None:
        """Halt rollouts that go wrong, never returning; evaluated only when a kit has reported something."""
        while True:
            await asyncio.sleep(every_s)
            if self.touched:
                self.touched = False
                await self.halt_what_fails()

    async def halt_what_fails(self) -> None:
        for rollout in list(self._rollouts.values()):
            if rollout.state is not RolloutState.RUNNING:
                continue
            progress = rules.progress(rollout, self._kits.values())
            if rules.must_halt(rollout, progress):
                await self._halt(
                    rollout, f"{progress.failed} of {progress.members} kits refused it or came back from it"
                )

    async def _halt(self, rollout: Rollout, reason: str) -> None:
        """Halt the rollout, unless somebody has halted or changed it meanwhile; then it is evaluated again."""

        def halted(known: list[Rollout]) -> tuple[Rollout, Deed] | None:
            if rollout not in known:
                return None
            changed = msgspec.structs.replace(rollout, state=RolloutState.HALTED, reason=reason)
            return changed, self._deed("the relay", "rollout", f"{rollout.version} halted: {reason}")

        if await self._change(halted) is not None:
            log.warning("rollout_halted", version=rollout.version, reason=reason)

    async def _change(self, change: Callable[[list[Rollout]], tuple[Rollout, Deed] | None]) -> Rollout | None:
        async with self._rows:
            rollout = await self._store.change_rollouts(change)
            if rollout is not None:
                self._rollouts[rollout.id] = rollout
        if rollout is not None:
            self._tell()
        return rollout

    def _tell(self) -> None:
        self.changed()
        self._others.changed(Rows.ROLLOUTS)

    def _deed(self, who: str, action: str, detail: str) -> Deed:
        log.info("fleet_deed", action=action)
        return Deed(int(self._now_ms()), who, None, action, detail)
