"""Keeps this kit's certificate valid: asks the relay for its time now and then, and renews after two thirds of its
life.

Only the relay's clock counts, never the kit's. A failed attempt is repeated later; the old certificate remains valid.
"""

from __future__ import annotations

import asyncio
import random
import time

import structlog

from agent.errors import AgentError, IdentityUnusable
from agent.identity.enrol import renew
from agent.identity.exchange import Exchange, trusting
from agent.identity.folder import IdentityFolder
from core.contracts.fleet import Certified

LOOK_EVERY_S = 6 * 3600.0
FIRST_LOOK_S = 20.0
CLOCK_OFF_S = 3600.0

log = structlog.get_logger(__name__)


class Renewal:
    """`run` forever; the wiring starts it only on kits with a relay to renew at."""

    def __init__(self, folder: IdentityFolder, relay: str, every_s: float = LOOK_EVERY_S) -> None:
        self._folder = folder
        self._relay = relay
        self._every_s = every_s
        self._problem = ""

    def told(self) -> Certified | None:
        """The certificate's entry in status, read from disk each time because other programs may renew it;

        None without one.
        """
        try:
            held = self._folder.held()
        except IdentityUnusable as error:
            return Certified(0, 0, str(error))
        if held is None:
            return None
        ends, renewed = held.certificate.not_valid_after_utc, held.renew_after
        return Certified(int(ends.timestamp() * 1000), int(renewed.timestamp() * 1000), self._problem)

    async def run(self) -> None:
        await asyncio.sleep(min(FIRST_LOOK_S, self._every_s) * random.random())  # noqa: S311 - a fleet spreads out
        while True:
            await self.try_to()
            await asyncio.sleep(self._every_s * (0.8 + 0.4 * random.random()))  # noqa: S311 - jitter

    async def try_to(self) -> None:
        """Call `look` in a thread, and report what went wrong."""
        try:
            await asyncio.to_thread(self.look)
        except AgentError as error:
            self._problem = str(error)
            log.warning("identity_not_renewed", code=error.code, reason=str(error))
        else:
            self._problem = ""

    def look(self) -> bool:
        """Renew if it is time; returns whether it did. Blocks. Raises AgentError."""
        held = self._folder.held()
        if held is None:
            return False
        exchange = Exchange(self._relay, trusting(self._folder.trusted()))
        now_s = exchange.authority().now
        if abs(now_s - time.time()) > CLOCK_OFF_S:
            log.warning("clock_wrong", off_s=round(time.time() - now_s))
        if now_s < held.renew_after.timestamp():
            return False
        renewed = renew(self._folder, exchange).held
        log.info("identity_renewed", serial=renewed.serial)
        return True
