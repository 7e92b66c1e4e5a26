"""The fleet in memory, as its kits report it: which are online, what each runs, and what each must be told again.

A command with a kit's desired state is repeated until the kit's status confirms it, since commands may get lost. In a
cluster, the relay a kit is connected to stores what the kit reports, and the others are told.
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
"""How long a kit may take to confirm a command before it is sent again."""
MOST_PACKAGES = 2_000
MOST_DIAGNOSTICS = 512_000
TYPES = ("packages", "diagnostics")
UNHEARD_S = 30.0
"""After a relay is lost, its kits have this many seconds to appear at another before they count as offline."""
CLOCKS_APART_MS = 60_000
"""By how much relays' clocks may differ: a kit that moves between relays must not seem to report from the past."""
HERE, STORED = "here", "stored"
"""Where a kit's report came from, if not from another relay (then its name): directly, or from before this start."""

Command = Callable[[str, str, dict[str, Any]], None]
log = structlog.get_logger(__name__)


class Packages(msgspec.Struct):
    digest: str
    packages: dict[str, str]


class Diagnostics(msgspec.Struct):
    request: str
    report: dict[str, Any]


class Register:
    """The register. `kits` is shared with `releases`; `command` sends a command to a kit; `link` gives a release's
    download address for a kit.

    `rows` is the lock for reading or writing what operators want of a kit; `view` is what operators see.
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
        """Load the stored fleet. Kits that are online will report again, here or to another relay."""
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
        """Take a kit's status message."""
        kit = self._expected(name)
        if kit is None:
            return
        kit.seen_ms, kit.online = int(self._now_ms()), online
        kit.report = report_of(payload)
        self._heard_here(kit)
        if online:
            self.remind(kit)

    def presence(self, sender: KitSender, online: bool) -> None:
        """Take the switchboard's notice that a kit is connected here, or has gone silent."""
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
        """Take `packages` and `diagnostics` messages, acknowledged once they are committed."""
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
        """Mark a kit as changed, so that its row for operators is made again."""
        self.view.changed(kit.name)
        self.releases.touched = True

    def remind(self, kit: Kit) -> None:
        """Send an online kit the desired state that its status does not confirm yet."""
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
        """Send a command to a kit, unless it was sent within AGAIN_MS; with `again`, in any case."""
        now = self._now_ms()
        if again or now - self._told.get((kit, name), -AGAIN_MS) >= AGAIN_MS:
            self._told[kit, name] = now
            self._command(kit, name, args)

    # -- what other relays say -----------------------------------------------------------------------------------

    def overheard(self, relay: str, told: Iterable[Told]) -> None:
        """Take what kits reported to another relay."""
        for said in told:
            kit = self._expected(said.name)
            if kit is not None and said.seen_ms >= kit.seen_ms - CLOCKS_APART_MS:
                kit.seen_ms, kit.online, kit.report = said.seen_ms, said.online, said.report
                self._teller[kit.name] = relay
                self.changed(kit)

    def told_here(self) -> list[Told]:
        """What kits reported directly to this relay, for a relay that is new or was away."""
        return [rules.told(self.kits[name]) for name, relay in self._teller.items() if relay == HERE]

    async def reread(self, rows: Rows, key: str = "") -> None:
        """Read again what another relay changed: the kit named `key`, or, without one, all kits."""
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
        """Another relay is gone: its kits soon report to a different one, or else count as offline."""
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
