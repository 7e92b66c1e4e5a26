"""What operators ask of the fleet: kits added, tagged, configured, asked for a diagnostic report, forgotten.

Each request is recorded. An answer means that it is committed; every relay sees it soon. Knows nothing of HTTP or SQL.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import structlog

from core.contracts.topics import valid_kit
from relay.errors import Conflict, Full, NotAllowed, NotFound
from relay.fleet import rules
from relay.fleet.others import Others, Rows
from relay.fleet.register import MOST_KITS, Register
from relay.fleet.rules import Desired, Kit
from relay.fleet.store import Deed, FleetStore

MOST_SETTINGS = 16_384
log = structlog.get_logger(__name__)


class FleetService:
    """`view` is the fleet as operators see it, `releases` what it should run."""

    def __init__(self, store: FleetStore, register: Register, now_ms: Callable[[], float], others: Others) -> None:
        self._store, self._register, self._now_ms, self._others = store, register, now_ms, others
        self.view, self.releases = register.view, register.releases

    async def details(self, name: str) -> dict[str, Any]:
        kit = self._of(name)
        found = await self._store.diagnostics(name)
        return {
            "kit": self.view.row(kit),
            "settings": kit.desired.settings if kit.desired is not None else {},
            "deeds": await self._store.deeds(name),
            "diagnostics": {"request": found["request"], "atMs": found["at_ms"]} if found else None,
            "nowMs": int(self._now_ms()),
        }

    async def add(self, who: str, names: Iterable[str], tags: Iterable[str] = ()) -> int:
        """Add kits that have not reported yet; returns how many are new."""
        fresh = [name for name in dict.fromkeys(names) if name not in self._register.kits]
        if bad := next((name for name in fresh if not valid_kit(name)), None):
            raise NotAllowed(f"{bad[:64]!r} is no kit's name: letters, digits, '.', '_' and '-', at most 64 of them")
        if len(self._register.kits) + len(fresh) > MOST_KITS:
            raise Full(f"A relay keeps {MOST_KITS} kits.")
        kept = _tags(tags)
        made = [Kit(name=name, added_ms=int(self._now_ms()), tags=kept) for name in fresh]
        await self._store.add(made, [self._deed(who, kit.name, "add", " ".join(kept)) for kit in made])
        for kit in made:
            self._register.kits.setdefault(kit.name, kit)
        if made:
            self._others.changed(Rows.KIT, made[0].name if len(made) == 1 else "")
        return len(made)

    async def forget(self, who: str, name: str) -> None:
        """Forget a kit for good. Refused while it is online, since it would only reappear."""
        if self._of(name).online:
            raise NotAllowed(f"{name} is online; revoke it first, then forget it.")
        await self._store.forget(name, self._deed(who, name, "forget", ""))
        self._register.forget(name)
        self._others.changed(Rows.KIT, name)

    async def tag(self, who: str, name: str, add: Iterable[str], remove: Iterable[str]) -> tuple[str, ...]:
        added, removed = list(add), set(remove)

        def tagged(kit: Kit) -> tuple[Kit, Deed]:
            tags = _tags([tag for tag in [*kit.tags, *added] if tag not in removed])
            return msgspec.structs.replace(kit, tags=tags), self._deed(who, name, "tag", ", ".join(tags))

        return (await self._change(name, tagged)).tags

    async def configure(self, who: str, name: str, settings: dict[str, Any], expected: int | None = None) -> Desired:
        """Set all of a kit's remote settings. Raises Conflict if somebody else was quicker."""
        if len(msgspec.json.encode(settings)) > MOST_SETTINGS:
            raise NotAllowed(f"Settings may have {MOST_SETTINGS} bytes.")
        of_memory = self._of(name).report
        heard = of_memory.configuration.version if of_memory and of_memory.configuration else 0

        def configured(kit: Kit) -> tuple[Kit, Deed]:
            now = kit.desired.version if kit.desired is not None else 0
            if expected is not None and expected != now:
                raise Conflict(f"The settings of {name} are at version {now}, not {expected}; look at them again.")
            desired = Desired(max(now, heard) + 1, settings)
            deed = self._deed(who, name, "configure", f"version {desired.version}: {', '.join(sorted(settings))}")
            return msgspec.structs.replace(kit, desired=desired), deed

        kit = await self._change(name, configured)
        assert kit.desired is not None
        if kit.online:
            self._register.tell(name, "configure", msgspec.to_builtins(kit.desired), again=True)
        return kit.desired

    async def diagnose(self, who: str, name: str) -> str:
        """Ask a kit for a diagnostic report; returns the id under which it will arrive."""
        kit = self._of(name)
        if not kit.online:
            raise NotAllowed(f"{name} is away; it can be asked when it is back.")
        request = uuid.uuid4().hex
        await self._store.note(self._deed(who, name, "diagnose", request))
        self._register.tell(name, "diagnose", {"request": request}, again=True)
        return request

    async def diagnostics(self, name: str, request: str | None) -> dict[str, Any]:
        self._of(name)
        found = await self._store.diagnostics(name)
        if found is None or (request is not None and found["request"] != request):
            raise NotFound(f"{name} has sent no such report yet.")
        return {"request": found["request"], "atMs": found["at_ms"], "report": msgspec.Raw(found["body"].encode())}

    def remind_all(self) -> None:
        """Send online kits what they should have, after a rollout was started or widened."""
        for kit in self._register.kits.values():
            if kit.online and kit.report is not None:
                self._register.remind(kit)

    async def _change(self, name: str, change: Callable[[Kit], tuple[Kit, Deed]]) -> Kit:
        """Change what a kit should have: committed first, then shown; one at a time, so that what is shown was
        committed last.
        """
        async with self._register.rows:
            kit = self._of(name)
            wished = await self._store.change(name, change)
            kit.tags, kit.desired = wished.tags, wished.desired
            self._register.changed(kit)
        self._others.changed(Rows.KIT, name)
        return kit

    def _deed(self, who: str, kit: str | None, action: str, detail: str) -> Deed:
        log.info("fleet_deed", action=action, kit=kit)
        return Deed(int(self._now_ms()), who, kit, action, detail[:500])

    def _of(self, name: str) -> Kit:
        kit = self._register.kits.get(name)
        if kit is None:
            raise NotFound(f"No kit {name[:64]!r} is known here.")
        return kit


def _tags(tags: Iterable[str]) -> tuple[str, ...]:
    try:
        return rules.valid_tags(tags)
    except ValueError as error:
        raise NotAllowed(str(error)) from None
