"""Tells the service manager (sd_notify) that the relay is ready, still working, or stopping.

Working means that the database stores what arrives: a relay whose event loop runs but that stores nothing is restarted.
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
    """Send a message to the service manager. Without one, or if it does not answer, do nothing."""
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.connect("\0" + address[1:] if address.startswith("@") else address)
        line.send(text)


async def watch(manager: Manager, works: Callable[[], Awaitable[bool]]) -> None:
    """Send watchdog messages while `works` is true; returns at once when the manager asks for none (WatchdogSec)."""
    if manager.address is None or manager.within_s is None:
        return
    while True:
        if await works():
            notify(manager.address, ALIVE)
        else:
            log.warning("no_progress", restarted_within_s=round(manager.within_s))
        await asyncio.sleep(manager.within_s / 4)
