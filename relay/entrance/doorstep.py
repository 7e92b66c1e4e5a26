"""HTTP connections before there is a request: so many an address, and each must ask something, in good time and size.

Beside relay.wire this module alone knows uvicorn's inside (version pinned; tests/trust/test_trust_perimeter.py fails
when a name used here changes).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from relay.settings import is_loopback

ASK_WITHIN_S = 60.0
"""From the connection, or the first byte of a request, to the end of its head."""
HEAD_BYTES = 65_536

log = structlog.get_logger(__name__)


class Places:
    """Connections by address; this machine's own are not counted."""

    def __init__(self, per_address: int) -> None:
        self._per_address = per_address
        self._taken: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        if self._taken[address] >= self._per_address and not is_loopback(address):
            log.warning("address_full", address=address, connections=self._taken[address])
            return False
        self._taken[address] += 1
        return True

    def leave(self, address: str) -> None:
        self._taken[address] -= 1
        if self._taken[address] <= 0:
            del self._taken[address]

    def __len__(self) -> int:
        return sum(self._taken.values())


class Doorstep(HttpToolsProtocol):
    """uvicorn's HTTP protocol with bounds. `places` is set by `doorstep`; sockets keep theirs until they end."""

    places: Places
    _address: str | None = None
    _head_bytes = 0
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if not self.places.enter(address):
            transport.abort()
            return
        self._address = address
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_waiting()
        self._leave()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        if self._waiting is None:
            self._wait_for_head()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._weigh(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._weigh(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        if not self.transport.is_closing():
            super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        """The transport changes hands; the place goes with it, and is left when the transport is."""
        super().handle_websocket_upgrade()
        self._stop_waiting()
        protocol: Any = self.transport.get_protocol()
        address, self._address = self._address, None
        if address is not None:
            protocol.on_lost = lambda: self.places.leave(address)

    def _weigh(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            log.warning("request_head_too_long", address=self._address)
            self.transport.abort()

    def _wait_for_head(self) -> None:
        self._waiting = self.loop.call_later(ASK_WITHIN_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _leave(self) -> None:
        if self._address is not None:
            self.places.leave(self._address)
            self._address = None


def doorstep(places: Places) -> type[Doorstep]:
    """The protocol class of one listener, for uvicorn, which makes its instances itself."""
    return type("DoorstepHere", (Doorstep,), {"places": places})
