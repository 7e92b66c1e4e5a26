"""What the service manager is told of the relay: ready, still working, stopping; and what the journal gets.

Still working means that the database takes what comes. A relay whose loop turns while nothing is stored is restarted.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from core.contracts.service import ALIVE, Manager

log = structlog.get_logger(__name__)


def notify(address: str | None, text: bytes) -> None:
    """Nothing without a manager; a manager that is gone is no reason to stop."""
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.connect("\0" + address[1:] if address.startswith("@") else address)
        line.send(text)


async def watch(manager: Manager, works: Callable[[], Awaitable[bool]]) -> None:
    """Give signs of life while `works`; returns at once when the manager asked for none (WatchdogSec)."""
    if manager.address is None or manager.within_s is None:
        return
    while True:
        if await works():
            notify(manager.address, ALIVE)
        else:
            log.warning("no_progress", restarted_within_s=round(manager.within_s))
        await asyncio.sleep(manager.within_s / 4)
