"""The fleet between relays, over NATS: the reports of kits, the rows that a user's request changed, and bundles.

Plain NATS loses messages while a connection is down, so a relay that reconnects reads the database and asks the others
for their kits' reports. Bundles are in a NATS object store, with as many replicas as the kits' messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import ObjectStoreConfig
from nats.js.errors import NotFoundError
from nats.js.object_store import ObjectStore

from relay.cluster import subjects
from relay.cluster.link import Link
from relay.cluster.members import Members
from relay.errors import StoreUnavailable
from relay.fleet.others import Rows
from relay.fleet.register import Register
from relay.fleet.rules import Told

AT_ONCE = 200
"""Kits per message: far below NATS's limit of 1 MB, however long their reports are."""
RETRY_S = 2.0
BUNDLES = "homeside-releases"
BUNDLES_WITHIN_S = 10.0
"""For each step of putting a bundle into the store."""

log = structlog.get_logger(__name__)


class _Said(msgspec.Struct, omit_defaults=True):
    relay: str
    told: list[Told] = []
    rows: Rows | None = None
    key: str = ""
    ask: bool = False


class FleetPeers:
    """Implements relay.fleet.others.Others in a cluster. `run` receives the others' messages for a register."""

    alone = False

    def __init__(self, link: Link, members: Members, replicas: int) -> None:
        self._link, self._members, self._replicas = link, members, replicas
        self._back = asyncio.Event()

    def tell(self, told: Sequence[Told]) -> None:
        for at in range(0, len(told), AT_ONCE):
            self._say(_Said(self._link.name, told=list(told[at : at + AT_ONCE])))

    def changed(self, rows: Rows, key: str = "") -> None:
        self._say(_Said(self._link.name, rows=rows, key=key))

    async def run(self, register: Register) -> None:
        """Receive from the others. First, and after each reconnection, read the database and ask what was missed."""

        async def heard(message: Msg) -> None:
            await self._heard(register, msgspec.json.decode(message.data, type=_Said))

        self._link.on_return.append(self._back.set)
        self._members.on_gone.append(register.gone)
        subscription = await self._link.hear(subjects.FLEET, heard)
        try:
            while True:
                self._back.clear()
                await register.load()
                self._say(_Said(self._link.name, ask=True))
                await self._back.wait()
        finally:
            self._link.on_return.remove(self._back.set)
            self._members.on_gone.remove(register.gone)
            await subscription.unsubscribe()

    async def _heard(self, register: Register, said: _Said) -> None:
        register.overheard(said.relay, said.told)
        if said.ask:
            self.tell(register.told_here())
        if said.rows is None:
            return
        try:
            await register.reread(said.rows, said.key)
        except StoreUnavailable:
            await asyncio.sleep(RETRY_S)
            self._back.set()

    async def share(self, bundle: Path) -> None:
        try:
            store = await self._bundles()
            with bundle.open("rb") as stream:
                await store.put(bundle.name, stream)
        except (NatsError, OSError, TimeoutError) as error:
            log.warning("bundle_not_shared", bundle=bundle.name, error=str(error) or type(error).__name__)
            raise StoreUnavailable("The other relays cannot be given the bundle now. Publish it again.") from None

    async def bring(self, bundle: str, into: Path) -> bool:
        try:
            store = await self._bundles()
            with into.open("xb") as stream:
                await store.get(bundle, writeinto=stream)
        except NotFoundError:
            return False
        except (NatsError, TimeoutError) as error:
            log.warning("bundle_not_brought", bundle=bundle, error=str(error) or type(error).__name__)
            raise StoreUnavailable("The bundle cannot be had from the other relays now. Try again.") from None
        log.info("bundle_brought", bundle=bundle)
        return True

    async def _bundles(self) -> ObjectStore:
        stream = self._link.client.jetstream(timeout=BUNDLES_WITHIN_S)
        try:
            return await stream.object_store(BUNDLES)
        except NotFoundError:
            return await stream.create_object_store(BUNDLES, ObjectStoreConfig(replicas=self._replicas))

    def _say(self, said: _Said) -> None:
        self._link.say(subjects.FLEET, msgspec.json.encode(said))
