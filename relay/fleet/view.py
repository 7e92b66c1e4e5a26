"""The fleet as operators see it, from memory. A kit's row is built once per change, so that 10,000 kits list at
once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from relay.fleet import rules
from relay.fleet.rules import Kit, Release, Standing

FRESH_MS = 3_600_000
"""How long a row may be reused: the days until a certificate's end change without a report."""
ORDER = {Standing.ATTENTION: 0, Standing.AWAY: 1, Standing.NEW: 2, Standing.LIVE: 3}


class Shown(NamedTuple):
    """A kit as shown in lists."""

    order: tuple[int, str]
    standing: Standing
    row: msgspec.Raw
    until_ms: float


class FleetView:
    """`kits` and `packages` (installed packages by digest) are the fleet; `wanted` gives the release a kit should
    fetch.
    """

    def __init__(
        self,
        kits: Mapping[str, Kit],
        packages: Mapping[str, Mapping[str, str]],
        now_ms: Callable[[], float],
        wanted: Callable[[Kit], Release | None],
    ) -> None:
        self._kits, self._packages = kits, packages
        self._now_ms, self._wanted = now_ms, wanted
        self._shown: dict[str, Shown] = {}

    def changed(self, kit: str | None = None) -> None:
        """Rebuild the row of a kit when next needed; None for all kits."""
        if kit is None:
            self._shown.clear()
        else:
            self._shown.pop(kit, None)

    def listing(
        self, *, query: str = "", standing: Standing | None = None, tag: str = "", limit: int = 100, offset: int = 0
    ) -> dict[str, Any]:
        """The matching kits, those that need attention first, and counts over the whole fleet."""
        now = self._now_ms()
        shown = {name: self._of(kit, now) for name, kit in self._kits.items()}
        names = [
            name
            for name, one in shown.items()
            if (standing is None or one.standing is standing)
            and (not tag or tag in self._kits[name].tags)
            and (not query or rules.matches(self._kits[name], query))
        ]
        names.sort(key=lambda name: shown[name].order)
        page = [shown[name].row for name in names[offset : offset + limit]]
        return {"kits": page, "total": len(names), "summary": self._summary(shown.values())}

    def row(self, kit: Kit) -> msgspec.Raw:
        return self._of(kit, self._now_ms()).row

    def running(self, package: str) -> dict[str, Any]:
        """Every kit that runs the package of that name (compared as PyPI does, PEP 503), and its version."""
        wanted = package.strip().lower().replace("_", "-").replace(".", "-")
        versions = {digest: found[wanted] for digest, found in self._packages.items() if wanted in found}
        kits = [
            {"name": kit.name, "version": versions[kit.report.packages], "online": kit.online}
            for kit in self._kits.values()
            if kit.report is not None and kit.report.packages in versions
        ]
        unknown = sum(
            1 for kit in self._kits.values() if kit.report is None or kit.report.packages not in self._packages
        )
        return {"package": wanted, "kits": kits, "unknown": unknown}

    def _of(self, kit: Kit, now_ms: float) -> Shown:
        found = self._shown.get(kit.name)
        if found is None or found.until_ms < now_ms:
            found = self._shown[kit.name] = self._show(kit, now_ms)
        return found

    def _show(self, kit: Kit, now_ms: float) -> Shown:
        standing, release = rules.standing(kit, now_ms), self._wanted(kit)
        row = {
            "name": kit.name,
            "standing": standing,
            "problems": rules.problems(kit, now_ms),
            "tags": kit.tags,
            "seenMs": kit.seen_ms or None,
            "release": release.version if release is not None else None,
            "desired": kit.desired.version if kit.desired is not None else None,
            **(msgspec.to_builtins(kit.report) if kit.report is not None else {}),
        }
        return Shown((ORDER[standing], kit.name), standing, msgspec.Raw(msgspec.json.encode(row)), now_ms + FRESH_MS)

    def _summary(self, shown: Iterable[Shown]) -> dict[str, Any]:
        standings = dict.fromkeys(Standing, 0)
        for one in shown:
            standings[one.standing] += 1
        versions: dict[str, int] = {}
        for kit in self._kits.values():
            if kit.report is not None and kit.report.version:
                versions[kit.report.version] = versions.get(kit.report.version, 0) + 1
        tags = sorted({tag for kit in self._kits.values() for tag in kit.tags})
        return {
            "kits": len(self._kits),
            **{standing.value: number for standing, number in standings.items()},
            "versions": dict(sorted(versions.items())),
            "tags": tags,
            "nowMs": int(self._now_ms()),
        }
