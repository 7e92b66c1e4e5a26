"""What operators and kits ask of the fleet. Everything is in memory; knows neither the web nor the database.

What is desired of a kit is told to it again until its status says that it heard: commands may get lost, states not.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec
import structlog

from core.contracts.errors import InvalidMessage
from core.contracts.fleet import ConfigurationState
from core.contracts.fleet import report as report_of
from core.contracts.scg import Envelope, decode_payload
from core.contracts.topics import valid_kit
from relay.errors import Conflict, Full, NotAllowed, NotFound
from relay.fleet import rules
from relay.fleet.releases import Releases
from relay.fleet.rules import Desired, Kit, Release, Standing
from relay.fleet.store import Deed, FleetStore
from relay.kits import KitSender

MOST_KITS = 20_000
AGAIN_MS = 30_000
"""How long a kit may take to say that it heard a command, before it is told again."""
SILENT_MS = 180_000
"""A kit that another relay heard so long ago is away, should that relay have gone without a word."""
MOST_SETTINGS = 16_384
MOST_PACKAGES = 2_000
MOST_DIAGNOSTICS = 512_000
TYPES = ("packages", "diagnostics")
ORDER = {Standing.ATTENTION: 0, Standing.AWAY: 1, Standing.NEW: 2, Standing.LIVE: 3}

Command = Callable[[str, str, dict[str, Any]], None]
log = structlog.get_logger(__name__)


class Packages(msgspec.Struct):
    digest: str
    packages: dict[str, str]


class Diagnostics(msgspec.Struct):
    request: str
    report: dict[str, Any]


class Shown(NamedTuple):
    """A kit as lists show it, made once a change."""

    order: tuple[int, str]
    standing: Standing
    row: msgspec.Raw


class FleetService:
    """`kits` is the fleet, shared with `releases`; `command` sends one down; `link` says where a kit fetches one."""

    def __init__(
        self,
        store: FleetStore,
        releases: Releases,
        kits: dict[str, Kit],
        now_ms: Callable[[], float],
        command: Command,
        link: Callable[[str, Release], str],
    ) -> None:
        self._store, self._now_ms = store, now_ms
        self._command, self._link = command, link
        self._kits = kits
        self.releases = releases
        self._shown: dict[str, Shown] = {}
        self._packages: dict[str, dict[str, str]] = {}
        self._told: dict[tuple[str, str], float] = {}
        self._deeds = asyncio.Lock()

    async def load(self) -> None:
        """As it was; who is online says so again."""
        self._kits |= {kit.name: msgspec.structs.replace(kit, online=False) for kit in await self._store.kits()}
        self._packages = await self._store.packages()

    async def reread(self, names: Iterable[str] | None) -> None:
        """What other relays wrote down: of these kits, or of all, and of releases and rollouts."""
        wanted = None if names is None else set(names)
        await self.releases.load()
        stored = {kit.name: kit for kit in await self._store.kits(wanted)}
        if wanted is None:
            self._packages |= await self._store.packages()
        for name in (wanted or set()) - stored.keys():
            self._kits.pop(name, None)
            self._shown.pop(name, None)
        for kit in stored.values():
            self._learn(kit)

    def _learn(self, stored: Kit) -> None:
        """Operators' fields as stored; how the kit is, from whoever heard it last. Away, if nobody did for long."""
        kit = self._kits.setdefault(stored.name, stored)
        kit.tags, kit.desired, kit.added_ms = stored.tags, stored.desired, stored.added_ms
        if stored.seen_ms > kit.seen_ms:
            kit.seen_ms, kit.online, kit.report = stored.seen_ms, stored.online, stored.report
            kit.release = stored.release
        kit.online = kit.online and self._now_ms() - kit.seen_ms < SILENT_MS
        self._shown.pop(kit.name, None)
        self.releases.touched = True

    # -- what kits say -------------------------------------------------------------------------------------------

    def heard(self, name: str, payload: dict[str, Any], online: bool) -> None:
        """A status message."""
        kit = self._known(name)
        if kit is None:
            return
        kit.seen_ms, kit.online = int(self._now_ms()), online
        kit.report = report_of(payload)
        self._changed(kit)
        if online:
            self._remind(kit)

    def presence(self, sender: KitSender, online: bool) -> None:
        """A kit that has fallen silent has said nothing; the switchboard noticed."""
        kit = self._kits.get(sender.name)
        if kit is not None and kit.online and not online:
            kit.online = False
            self._changed(kit)

    async def take(self, sender: KitSender, envelope: Envelope, *, present: bool) -> None:
        """`packages` and `diagnostics`, acknowledged when they are committed."""
        if envelope.type == "packages":
            told = decode_payload(envelope.payload, Packages)
            if len(told.packages) > MOST_PACKAGES or len(told.digest) > 64:
                raise InvalidMessage(f"Expected at most {MOST_PACKAGES} packages under a digest of 64 characters")
            await self._store.keep_packages(told.digest, told.packages)
            self._packages[told.digest] = told.packages
        else:
            found = decode_payload(envelope.payload, Diagnostics)
            if len(envelope.payload) > MOST_DIAGNOSTICS:
                raise InvalidMessage(f"Expected a report of at most {MOST_DIAGNOSTICS} bytes")
            body = msgspec.json.encode(found.report).decode()
            await self._store.keep_diagnostics(sender.name, found.request[:64], int(self._now_ms()), body)
        number = envelope.number
        if number is not None:
            sender.ack(*number)

    def _known(self, name: str) -> Kit | None:
        kit = self._kits.get(name)
        if kit is None and len(self._kits) < MOST_KITS:
            kit = self._kits[name] = Kit(name=name, added_ms=int(self._now_ms()))
        if kit is None:
            log.warning("fleet_full", kit=name, kits=len(self._kits))
        return kit

    def _changed(self, kit: Kit) -> None:
        self._shown.pop(kit.name, None)
        self.releases.touched = True
        self._store.put(kit)

    def _remind(self, kit: Kit) -> None:
        """Tell an online kit what it is to have and does not say it has."""
        report = kit.report
        assert report is not None
        if report.packages and report.packages not in self._packages:
            self._tell(kit.name, "list_packages", {})
        heard = report.configuration.version if report.configuration is not None else 0
        if kit.desired is not None and kit.desired.version > heard:
            self._tell(kit.name, "configure", msgspec.to_builtins(kit.desired))
        elif report.configuration is not None and report.configuration.state is ConfigurationState.TRYING:
            self._tell(kit.name, "keep", {"version": heard}, again=True)
        release = self.releases.wanted(kit)
        kit.release = release.version if release is not None else None
        if release is not None:
            link = self._link(kit.name, release)
            self._tell(kit.name, "update", {"version": release.version, "sha256": release.sha256, "url": link})

    def _tell(self, kit: str, name: str, args: dict[str, Any], *, again: bool = False) -> None:
        now = self._now_ms()
        if again or now - self._told.get((kit, name), -AGAIN_MS) >= AGAIN_MS:
            self._told[kit, name] = now
            self._command(kit, name, args)

    # -- what operators see --------------------------------------------------------------------------------------

    def listing(
        self, *, query: str = "", standing: Standing | None = None, tag: str = "", limit: int = 100, offset: int = 0
    ) -> dict[str, Any]:
        """Kits that match, those that need somebody first, and the whole fleet in numbers."""
        shown = {name: self._shown.get(name) or self._show(kit) for name, kit in self._kits.items()}
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

    def _show(self, kit: Kit) -> Shown:
        standing = rules.standing(kit)
        report = msgspec.to_builtins(kit.report) if kit.report is not None else {}
        row = {
            "name": kit.name,
            "standing": standing,
            "problems": rules.problems(kit) if kit.online else [],
            "tags": kit.tags,
            "seenMs": kit.seen_ms or None,
            "release": kit.release,
            "desired": kit.desired.version if kit.desired is not None else None,
            **report,
        }
        found = Shown((ORDER[standing], kit.name), standing, msgspec.Raw(msgspec.json.encode(row)))
        self._shown[kit.name] = found
        return found

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

    async def details(self, name: str) -> dict[str, Any]:
        kit = self._of(name)
        found = await self._store.diagnostics(name)
        return {
            "kit": (self._shown.get(name) or self._show(kit)).row,
            "settings": kit.desired.settings if kit.desired is not None else {},
            "deeds": await self._store.deeds(name),
            "diagnostics": {"request": found["request"], "atMs": found["at_ms"]} if found else None,
            "nowMs": int(self._now_ms()),
        }

    def running(self, package: str) -> dict[str, Any]:
        """Every kit that runs a package of that name (as PyPI compares names, PEP 503), and in which version."""
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

    # -- what operators ask for ----------------------------------------------------------------------------------

    async def add(self, who: str, names: Iterable[str], tags: Iterable[str] = ()) -> int:
        """Expect kits that were never heard of yet. How many are new."""
        fresh = [name for name in dict.fromkeys(names) if name not in self._kits]
        if bad := next((name for name in fresh if not valid_kit(name)), None):
            raise NotAllowed(f"{bad[:64]!r} is no kit's name: letters, digits, '.', '_' and '-', at most 64 of them")
        if len(self._kits) + len(fresh) > MOST_KITS:
            raise Full(f"A relay keeps {MOST_KITS} kits.")
        kept = _tags(tags)
        made = [Kit(name=name, added_ms=int(self._now_ms()), tags=kept) for name in fresh]
        await self._store.save(made, [self._deed(who, kit.name, "add", " ".join(kept)) for kit in made])
        for kit in made:
            self._kits.setdefault(kit.name, kit)
        return len(made)

    async def forget(self, who: str, name: str) -> None:
        """A kit that is gone for good; one that is online would only come back."""
        if self._of(name).online:
            raise NotAllowed(f"{name} is online; revoke it first, then forget it.")
        await self._store.forget(name, self._deed(who, name, "forget", ""))
        self._kits.pop(name, None)
        self._shown.pop(name, None)

    async def tag(self, who: str, name: str, add: Iterable[str], remove: Iterable[str]) -> tuple[str, ...]:
        async with self._deeds:
            kit = self._of(name)
            tags = _tags([tag for tag in [*kit.tags, *add] if tag not in set(remove)])
            await self._change(kit, self._deed(who, name, "tag", ", ".join(tags)), tags=tags)
        return tags

    async def configure(self, who: str, name: str, settings: dict[str, Any], expected: int | None = None) -> Desired:
        """What a kit's settings are to be, all of them; Conflict when somebody was quicker."""
        if len(msgspec.json.encode(settings)) > MOST_SETTINGS:
            raise NotAllowed(f"Settings may have {MOST_SETTINGS} bytes.")
        async with self._deeds:
            kit = self._of(name)
            now = kit.desired.version if kit.desired is not None else 0
            if expected is not None and expected != now:
                raise Conflict(f"The settings of {name} are at version {now}, not {expected}; look at them again.")
            heard = kit.report.configuration.version if kit.report and kit.report.configuration else 0
            desired = Desired(max(now, heard) + 1, settings)
            deed = self._deed(who, name, "configure", f"version {desired.version}: {', '.join(sorted(settings))}")
            await self._change(kit, deed, desired=desired)
        if kit.online:
            self._tell(name, "configure", msgspec.to_builtins(desired), again=True)
        return desired

    async def diagnose(self, who: str, name: str) -> str:
        """Ask a kit for a report of itself; the id it will come under."""
        kit = self._of(name)
        if not kit.online:
            raise NotAllowed(f"{name} is away; it can be asked when it is back.")
        request = uuid.uuid4().hex
        await self._store.save([kit], [self._deed(who, name, "diagnose", request)], only=())
        self._tell(name, "diagnose", {"request": request}, again=True)
        return request

    async def diagnostics(self, name: str, request: str | None) -> dict[str, Any]:
        self._of(name)
        found = await self._store.diagnostics(name)
        if found is None or (request is not None and found["request"] != request):
            raise NotFound(f"{name} has sent no such report yet.")
        return {"request": found["request"], "atMs": found["at_ms"], "report": msgspec.Raw(found["body"].encode())}

    def remind_all(self) -> None:
        """Tell those who are online, after a rollout was begun or widened."""
        for kit in self._kits.values():
            if kit.online and kit.report is not None:
                self._remind(kit)
                self._shown.pop(kit.name, None)

    async def _change(self, kit: Kit, deed: Deed, **changes: Any) -> None:
        """Committed first, then seen."""
        await self._store.save([msgspec.structs.replace(kit, **changes)], [deed], only=tuple(changes))
        for key, value in changes.items():
            setattr(kit, key, value)
        self._changed(kit)

    def _deed(self, who: str, kit: str | None, action: str, detail: str) -> Deed:
        log.info("fleet_deed", action=action, kit=kit)
        return Deed(int(self._now_ms()), who, kit, action, detail[:500])

    def _of(self, name: str) -> Kit:
        kit = self._kits.get(name)
        if kit is None:
            raise NotFound(f"No kit {name[:64]!r} is known here.")
        return kit


def _tags(tags: Iterable[str]) -> tuple[str, ...]:
    try:
        return rules.valid_tags(tags)
    except ValueError as error:
        raise NotAllowed(str(error)) from None
