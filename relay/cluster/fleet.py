"""What one relay writes down of kits and rollouts, known on every other: their names are told, the rows are read.

What is told may get lost; everything is read again now and then, and whenever the connection comes back.
"""

from __future__ import annotations

import asyncio

import msgspec
import structlog
from nats.aio.msg import Msg

from relay.cluster import subjects
from relay.cluster.link import Link
from relay.errors import StoreUnavailable
from relay.fleet.service import FleetService

READ_ALL_EVERY_S = 30.0
GATHERED_S = 0.2
MOST_NAMES = 2_000
"""Changed at once; beyond it everything is read."""

log = structlog.get_logger(__name__)


class FleetPeers:
    """`tell` is called after a commit with the kits it changed; `run` is the duty."""

    def __init__(self, link: Link, service: FleetService) -> None:
        self._link, self._service = link, service
        self._names: set[str] = set()
        self._all = True
        self._work = asyncio.Event()
        link.on_return.append(self._read_all)

    def tell(self, kits: list[str]) -> None:
        for start in range(0, len(kits), MOST_NAMES) if kits else (0,):
            self._link.say(subjects.FLEET, msgspec.json.encode(kits[start : start + MOST_NAMES]))

    async def run(self) -> None:
        await self._link.hear(subjects.FLEET, self._heard)
        while True:
            try:
                async with asyncio.timeout(READ_ALL_EVERY_S):
                    await self._work.wait()
            except TimeoutError:
                self._all = True
            await asyncio.sleep(GATHERED_S)
            await self._read()

    async def _heard(self, message: Msg) -> None:
        self._names |= set(msgspec.json.decode(message.data, type=list[str]))
        self._all |= len(self._names) > MOST_NAMES
        self._work.set()

    def _read_all(self) -> None:
        self._all = True
        self._work.set()

    async def _read(self) -> None:
        names, everything = self._names, self._all
        self._names, self._all = set(), False
        self._work.clear()
        try:
            await self._service.reread(None if everything else names)
        except StoreUnavailable as error:
            log.warning("fleet_not_read", reason=str(error))
            self._all = True
