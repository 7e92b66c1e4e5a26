"""Messages to the service manager: ready, still working, stopping (systemd's sd_notify protocol, one datagram each).

"Still working" means that samples arrived or that the source says why none do; an event loop that merely runs does not
count. A source that reports no problem and gives nothing is restarted by the watchdog.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

import structlog

from core.contracts.service import ALIVE

log = structlog.get_logger(__name__)


def notify(address: str | None, text: bytes) -> None:
    """Send one message; does nothing without a manager, and ignores one that is gone."""
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.connect("\0" + address[1:] if address.startswith("@") else address)
        line.send(text)


class Watchdog:
    """`samples` counts what was read; `problem` says why nothing is."""

    def __init__(
        self, address: str | None, within_s: float | None, samples: Callable[[], int], problem: Callable[[], str | None]
    ) -> None:
        self._address, self._within_s = address, within_s
        self._samples, self._problem = samples, problem
        self._seen = -1
        self._silent = False

    def works(self) -> bool:
        """Whether there was progress since the last call, or a known problem."""
        count = self._samples()
        moved, self._seen = count != self._seen, count
        return moved or self._problem() is not None

    async def run(self) -> None:
        """Signal life while there is progress. Returns at once when the manager does not ask for it (WatchdogSec)."""
        if self._address is None or self._within_s is None:
            return
        while True:
            if self.works():
                self._silent = False
                notify(self._address, ALIVE)
            elif not self._silent:
                self._silent = True
                log.warning("no_progress", restarted_within_s=round(self._within_s))
            await asyncio.sleep(self._within_s / 4)
