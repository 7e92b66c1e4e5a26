"""What operators and kits ask of the fleet. Everything is in memory; knows neither the web nor the database.

What is desired of a kit is told to it again until its status says that it heard: commands may get lost, states not.
Of several relays the one that takes a kit's messages writes down what it said; the others overhear it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import structlog

from core.contracts.errors import InvalidMessage
from core.contracts.fleet import ConfigurationState
from core.contracts.fleet import report as report_of
from core.contracts.scg import Envelope, decode_payload
from core.contracts.topics import valid_kit
from relay.bus.switchboard import KitSender
from relay.errors import Conflict, Full, NotAllowed, NotFound
from relay.fleet import rules
from relay.fleet.others import Others, Rows
from relay.fleet.releases import Releases
from relay.fleet.rules import Desired, Kit, Release, Told
from relay.fleet.store import Deed, FleetStore
from relay.fleet.view import FleetView

MOST_KITS = 20_000
AGAIN_MS = 30_000
"""How long a kit may take to say that it heard a command, before it is told again."""
MOST_SETTINGS = 16_384
MOST_PACKAGES = 2_000
MOST_DIAGNOSTICS = 512_000
TYPES = ("packages", "diagnostics")
UNHEARD_S = 30.0
"""After a relay went, its kits have so long to be heard by another before they count as away."""
CLOCKS_APART_MS = 60_000
"""What relays' clocks may differ by: a kit that goes from one to another must not seem to be heard in the past."""
HERE, STORED = "here", "stored"
"""By whom a kit was heard, where it is no other relay, which has a name: at first hand, or before this start."""

Command = Callable[[str, str, dict[str, Any]], None]
log = structlog.get_logger(__name__)


class Packages(msgspec.Struct):
    digest: str
    packages: dict[str, str]


class Diagnostics(msgspec.Struct):
    request: str
    report: dict[str, Any]


class FleetService:
    """`kits` is the fleet, shared with `releases`; `command` sends one down; `link` says where a kit fetches one.

    `view` is what operators see of it.
    """

    def __init__(
        self,
        store: FleetStore,
        releases: Releases,
        kits: dict[str, Kit],
        now_ms: Callable[[], float],
        command: Command,
        link: Callable[[str, Release], str],
        others: Others,
    ) -> None:
        self._store, self._now_ms, self._others = store, now_ms, others
        self._command, self._link = command, link
        self._kits = kits
        self._packages: dict[str, dict[str, str]] = {}
        self._told: dict[tuple[str, str], float] = {}
        self._teller: dict[str, str] = {}
        self._rows = asyncio.Lock()
        self.releases = releases
        self.view = FleetView(kits, self._packages, now_ms, releases.wanted)
        releases.changed = self.view.changed

    async def load(self) -> None:
        """As it was; who is online says so again, here or to another relay."""
        async with self._rows:
            self._take_up({kit.name: kit for kit in await self._store.kits()})
        self._packages.update(await self._store.packages())
        await self.releases.load()
        self.gone(STORED)

    def _take_up(self, stored: dict[str, Kit]) -> None:
        for name in set(self._kits) - set(stored):
            if self._teller.get(name) != HERE:
                self._forget(name)
        for kit in stored.values():
            known = self._kits.setdefault(kit.name, kit)
            known.tags, known.desired, known.added_ms = kit.tags, kit.desired, kit.added_ms
            if self._teller.get(kit.name) != HERE and known.seen_ms <= kit.seen_ms:
                known.seen_ms, known.report = kit.seen_ms, kit.report
                known.online = kit.online and not self._others.alone

    # -- what kits say -------------------------------------------------------------------------------------------

    def heard(self, name: str, payload: dict[str, Any], online: bool) -> None:
        """A status message."""
        kit = self._known(name)
        if kit is None:
            return
        kit.seen_ms, kit.online = int(self._now_ms()), online
        kit.report = report_of(payload)
        self._heard_here(kit)
        if online:
            self._remind(kit)

    def presence(self, sender: KitSender, online: bool) -> None:
        """What the switchboard noticed: a kit is heard here from now on, or has fallen silent without a word."""
        kit = self._kits.get(sender.name)
        if kit is None or not kit.seen_ms:
            return
        here = self._teller.get(kit.name) == HERE
        if (online and not (here and kit.online)) or (not online and here and kit.online):
            kit.online = online
            self._heard_here(kit)

    def _heard_here(self, kit: Kit) -> None:
        self._teller[kit.name] = HERE
        self._changed(kit)
        self._store.put(kit)

    async def take(self, sender: KitSender, envelope: Envelope, *, present: bool) -> None:
        """`packages` and `diagnostics`, acknowledged when they are committed."""
        if envelope.type == "packages":
            told = decode_payload(envelope.payload, Packages)
            if len(told.packages) > MOST_PACKAGES or len(told.digest) > 64:
                raise InvalidMessage(f"Expected at most {MOST_PACKAGES} packages under a digest of 64 characters")
            await self._store.keep_packages(told.digest, told.packages)
            self._packages[told.digest] = told.packages
            self._others.changed(Rows.PACKAGES)
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
        self.view.changed(kit.name)
        self.releases.touched = True

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
        if release is not None:
            link = self._link(kit.name, release)
            self._tell(kit.name, "update", {"version": release.version, "sha256": release.sha256, "url": link})

    def _tell(self, kit: str, name: str, args: dict[str, Any], *, again: bool = False) -> None:
        now = self._now_ms()
        if again or now - self._told.get((kit, name), -AGAIN_MS) >= AGAIN_MS:
            self._told[kit, name] = now
            self._command(kit, name, args)

    # -- what other relays say -----------------------------------------------------------------------------------

    def overheard(self, relay: str, told: Iterable[Told]) -> None:
        """What kits said to another relay."""
        for said in told:
            kit = self._known(said.name)
            if kit is not None and said.seen_ms >= kit.seen_ms - CLOCKS_APART_MS:
                kit.seen_ms, kit.online, kit.report = said.seen_ms, said.online, said.report
                self._teller[kit.name] = relay
                self._changed(kit)

    def told_here(self) -> list[Told]:
        """What this relay knows at first hand: for one that is new, or was away."""
        return [rules.told(self._kits[name]) for name, relay in self._teller.items() if relay == HERE]

    async def reread(self, rows: Rows, key: str = "") -> None:
        """Another relay wrote: a kit of that name, or, without one, many."""
        if rows is Rows.ROLLOUTS:
            await self.releases.load()
            self.releases.touched = True
        elif rows is Rows.PACKAGES:
            self._packages.update(await self._store.packages())
        elif key:
            await self._reread(key)
        else:
            await self.load()

    async def _reread(self, name: str) -> None:
        async with self._rows:
            wished, kit = await self._store.kit(name), self._known(name)
            if wished is None:
                self._forget(name)
            elif kit is not None:
                kit.tags, kit.desired, kit.added_ms = wished.tags, wished.desired, wished.added_ms
                self._changed(kit)

    def gone(self, relay: str) -> None:
        """A relay went: who takes its kits over says so soon, or nobody hears them any more."""
        of_it = [name for name, kit in self._kits.items() if kit.online and self._teller.get(name, STORED) == relay]
        if of_it:
            asyncio.get_running_loop().call_later(UNHEARD_S, self._unheard, of_it, relay)

    def _unheard(self, names: list[str], relay: str) -> None:
        for name in names:
            kit = self._kits.get(name)
            if kit is not None and self._teller.get(name, STORED) == relay:
                kit.online = False
                self._changed(kit)

    # -- what operators see --------------------------------------------------------------------------------------

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
        await self._store.add(made, [self._deed(who, kit.name, "add", " ".join(kept)) for kit in made])
        for kit in made:
            self._kits.setdefault(kit.name, kit)
        if made:
            self._others.changed(Rows.KIT, made[0].name if len(made) == 1 else "")
        return len(made)

    async def forget(self, who: str, name: str) -> None:
        """A kit that is gone for good; one that is online would only come back."""
        if self._of(name).online:
            raise NotAllowed(f"{name} is online; revoke it first, then forget it.")
        await self._store.forget(name, self._deed(who, name, "forget", ""))
        self._forget(name)
        self._others.changed(Rows.KIT, name)

    def _forget(self, name: str) -> None:
        self._kits.pop(name, None)
        self._teller.pop(name, None)
        self.view.changed(name)

    async def tag(self, who: str, name: str, add: Iterable[str], remove: Iterable[str]) -> tuple[str, ...]:
        added, removed = list(add), set(remove)

        def tagged(kit: Kit) -> tuple[Kit, Deed]:
            tags = _tags([tag for tag in [*kit.tags, *added] if tag not in removed])
            return msgspec.structs.replace(kit, tags=tags), self._deed(who, name, "tag", ", ".join(tags))

        return (await self._change(name, tagged)).tags

    async def configure(self, who: str, name: str, settings: dict[str, Any], expected: int | None = None) -> Desired:
        """What a kit's settings are to be, all of them; Conflict when somebody was quicker."""
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
            self._tell(name, "configure", msgspec.to_builtins(kit.desired), again=True)
        return kit.desired

    async def diagnose(self, who: str, name: str) -> str:
        """Ask a kit for a report of itself; the id it will come under."""
        kit = self._of(name)
        if not kit.online:
            raise NotAllowed(f"{name} is away; it can be asked when it is back.")
        request = uuid.uuid4().hex
        await self._store.note(self._deed(who, name, "diagnose", request))
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

    async def _change(self, name: str, change: Callable[[Kit], tuple[Kit, Deed]]) -> Kit:
        """Committed first, then seen; one at a time, that what is seen is what was committed last."""
        async with self._rows:
            kit = self._of(name)
            wished = await self._store.change(name, change)
            kit.tags, kit.desired = wished.tags, wished.desired
            self._changed(kit)
        self._others.changed(Rows.KIT, name)
        return kit

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
