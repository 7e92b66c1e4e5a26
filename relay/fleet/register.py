"""The fleet as its kits say it is, in memory: who is there, what each runs, and what each is reminded of.

What is desired of a kit is told to it again until its status says that it heard: commands may get lost, states not.
Of several relays the one that takes a kit's messages writes down what it said; the others overhear it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import structlog

from core.contracts.errors import InvalidMessage
from core.contracts.fleet import ConfigurationState
from core.contracts.fleet import report as report_of
from core.contracts.scg import Envelope, decode_payload
from relay.bus.switchboard import KitSender
from relay.fleet import rules
from relay.fleet.others import Others, Rows
from relay.fleet.releases import Releases
from relay.fleet.rules import Kit, Release, Told
from relay.fleet.store import FleetStore
from relay.fleet.view import FleetView

MOST_KITS = 20_000
AGAIN_MS = 30_000
"""How long a kit may take to say that it heard a command, before it is told again."""
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


class Register:
    """`kits` is the fleet, shared with `releases`; `command` sends one down; `link` says where a kit fetches one.

    `rows` is held by whoever reads or writes what operators wish of a kit; `view` is what operators see.
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
        self.kits = kits
        self._packages: dict[str, dict[str, str]] = {}
        self._told: dict[tuple[str, str], float] = {}
        self._teller: dict[str, str] = {}
        self.rows = asyncio.Lock()
        self.releases = releases
        self.view = FleetView(kits, self._packages, now_ms, releases.wanted)
        releases.changed = self.view.changed

    async def load(self) -> None:
        """As it was; who is online says so again, here or to another relay."""
        async with self.rows:
            self._take_up({kit.name: kit for kit in await self._store.kits()})
        self._packages.update(await self._store.packages())
        await self.releases.load()
        self.gone(STORED)

    def _take_up(self, stored: dict[str, Kit]) -> None:
        for name in set(self.kits) - set(stored):
            if self._teller.get(name) != HERE:
                self.forget(name)
        for kit in stored.values():
            known = self.kits.setdefault(kit.name, kit)
            known.tags, known.desired, known.added_ms = kit.tags, kit.desired, kit.added_ms
            if self._teller.get(kit.name) != HERE and known.seen_ms <= kit.seen_ms:
                known.seen_ms, known.report = kit.seen_ms, kit.report
                known.online = kit.online and not self._others.alone

    # -- what kits say -------------------------------------------------------------------------------------------

    def heard(self, name: str, payload: dict[str, Any], online: bool) -> None:
        """A status message."""
        kit = self._expected(name)
        if kit is None:
            return
        kit.seen_ms, kit.online = int(self._now_ms()), online
        kit.report = report_of(payload)
        self._heard_here(kit)
        if online:
            self.remind(kit)

    def presence(self, sender: KitSender, online: bool) -> None:
        """What the switchboard noticed: a kit is heard here from now on, or has fallen silent without a word."""
        kit = self.kits.get(sender.name)
        if kit is None or not kit.seen_ms:
            return
        here = self._teller.get(kit.name) == HERE
        if (online and not (here and kit.online)) or (not online and here and kit.online):
            kit.online = online
            self._heard_here(kit)

    def _heard_here(self, kit: Kit) -> None:
        self._teller[kit.name] = HERE
        self.changed(kit)
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

    def _expected(self, name: str) -> Kit | None:
        kit = self.kits.get(name)
        if kit is None and len(self.kits) < MOST_KITS:
            kit = self.kits[name] = Kit(name=name, added_ms=int(self._now_ms()))
        if kit is None:
            log.warning("fleet_full", kit=name, kits=len(self.kits))
        return kit

    def changed(self, kit: Kit) -> None:
        """What operators see of it is made anew."""
        self.view.changed(kit.name)
        self.releases.touched = True

    def remind(self, kit: Kit) -> None:
        """Tell an online kit what it is to have and does not say it has."""
        report = kit.report
        assert report is not None
        if report.packages and report.packages not in self._packages:
            self.tell(kit.name, "list_packages", {})
        heard = report.configuration.version if report.configuration is not None else 0
        if kit.desired is not None and kit.desired.version > heard:
            self.tell(kit.name, "configure", msgspec.to_builtins(kit.desired))
        elif report.configuration is not None and report.configuration.state is ConfigurationState.TRYING:
            self.tell(kit.name, "keep", {"version": heard}, again=True)
        release = self.releases.wanted(kit)
        if release is not None:
            link = self._link(kit.name, release)
            self.tell(kit.name, "update", {"version": release.version, "sha256": release.sha256, "url": link})

    def tell(self, kit: str, name: str, args: dict[str, Any], *, again: bool = False) -> None:
        """Send a command down, unless it was sent just now; `again`, even then."""
        now = self._now_ms()
        if again or now - self._told.get((kit, name), -AGAIN_MS) >= AGAIN_MS:
            self._told[kit, name] = now
            self._command(kit, name, args)

    # -- what other relays say -----------------------------------------------------------------------------------

    def overheard(self, relay: str, told: Iterable[Told]) -> None:
        """What kits said to another relay."""
        for said in told:
            kit = self._expected(said.name)
            if kit is not None and said.seen_ms >= kit.seen_ms - CLOCKS_APART_MS:
                kit.seen_ms, kit.online, kit.report = said.seen_ms, said.online, said.report
                self._teller[kit.name] = relay
                self.changed(kit)

    def told_here(self) -> list[Told]:
        """What this relay knows at first hand: for one that is new, or was away."""
        return [rules.told(self.kits[name]) for name, relay in self._teller.items() if relay == HERE]

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
        async with self.rows:
            wished, kit = await self._store.kit(name), self._expected(name)
            if wished is None:
                self.forget(name)
            elif kit is not None:
                kit.tags, kit.desired, kit.added_ms = wished.tags, wished.desired, wished.added_ms
                self.changed(kit)

    def gone(self, relay: str) -> None:
        """A relay went: who takes its kits over says so soon, or nobody hears them any more."""
        of_it = [name for name, kit in self.kits.items() if kit.online and self._teller.get(name, STORED) == relay]
        if of_it:
            asyncio.get_running_loop().call_later(UNHEARD_S, self._unheard, of_it, relay)

    def _unheard(self, names: list[str], relay: str) -> None:
        for name in names:
            kit = self.kits.get(name)
            if kit is not None and self._teller.get(name, STORED) == relay:
                kit.online = False
                self.changed(kit)

    def forget(self, name: str) -> None:
        self.kits.pop(name, None)
        self._teller.pop(name, None)
        self.view.changed(name)
