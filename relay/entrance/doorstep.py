"""Bounds on slow HTTP connections: time and size of a request's head, progress of its body, and of reading the answer.

Besides relay.wire, only this module uses uvicorn's internals (the version is pinned, and
tests/trust/test_trust_perimeter.py fails when a name used here changes).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from relay.process.metrics import Metrics

ASK_WITHIN_S = 60.0
"""From the connection, or a request's first byte, to the end of its head."""
HEAD_BYTES = 65_536
LOOK_EVERY_S = 20.0
LOOKS = 3
"""Consecutive checks without progress after which a connection is closed: one minute."""
BODY_BYTES = 2_000
"""Least progress of a request's body between two checks, while we read it: 100 bytes/s."""

log = structlog.get_logger(__name__)


class Doorstep(HttpToolsProtocol):
    """uvicorn's HTTP protocol with bounds. `leave`, if set, is called once when the connection is lost."""

    metrics: Metrics
    leave: Callable[[], None] | None = None
    _head_bytes = 0
    _waiting: asyncio.TimerHandle | None = None
    _in_body = False
    _body_bytes = 0
    _unread = 0
    _looks = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_waiting()
        if self.leave is not None:
            self.leave()
            self.leave = None

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
            self._in_body = True
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def resume_writing(self) -> None:
        self._unread = 0
        super().resume_writing()

    def look(self) -> None:
        """Called every LOOK_EVERY_S. Ends a connection that made no progress in LOOKS consecutive checks.

        Progress means: sending the body that we wait for, or reading the answer that waits to be sent.
        """
        unread = self.transport.get_write_buffer_size()
        stuck = unread > 0 and unread == self._unread
        slow = self._in_body and not self.flow.read_paused and self._body_bytes < BODY_BYTES
        self._unread, self._body_bytes = unread, 0
        self._looks = self._looks + 1 if stuck or slow else 0
        if self._looks >= LOOKS:
            self._end("answer" if stuck else "body")

    def handle_websocket_upgrade(self) -> None:
        """The connection becomes a WebSocket: `leave` is handed to its new protocol."""
        super().handle_websocket_upgrade()
        self._stop_waiting()
        protocol: Any = self.transport.get_protocol()
        protocol.on_lost, self.leave = self.leave, None

    def _weigh(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            self._end("head_too_long")

    def _wait_for_head(self) -> None:
        self._waiting = self.loop.call_later(ASK_WITHIN_S, self._end, "head")

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _end(self, over: str) -> None:
        self.metrics.connections_ended.labels(over).inc()
        log.info("connection_ended", over=over, address=self.client[0] if self.client else "")
        self.transport.abort()


def doorstep(metrics: Metrics) -> type[Doorstep]:
    """The protocol class of one listener: uvicorn takes a class, not an instance."""
    return type("DoorstepHere", (Doorstep,), {"metrics": metrics})
