"""The WebSocket connection the relay gives to its rooms, built on uvicorn's: one frame is shared by all viewers.

A broadcast is the same bytes for everybody, so it is framed once and written to each transport. Only this module uses
uvicorn's internals (version pinned; tests/relay/test_relay_wire.py fails if a name used here changes). A connection is
attached to a listener once its route has accepted it; from then on no task waits for it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State

EXTENSION = "homeside.connection"
NOTSENT_LOWAT = 16_384
"""Bytes the kernel may hold unsent per reader; without it, a client that never reads takes about 1.7 MB unnoticed."""
ABORT_AFTER_S = 1.0
"""How long a closing connection may still send; a client that never reads would otherwise block a shutdown."""

log = structlog.get_logger(__name__)


class Listener(Protocol):
    """What is attached to a connection. Every call comes from the event loop and must not block."""

    def received(self, data: str | bytes) -> None: ...
    def full(self) -> None: ...
    def writable(self) -> None: ...
    def closing(self) -> None: ...
    def lost(self) -> None: ...


def text_frame(payload: bytes) -> bytes:
    """An unmasked, unfragmented text frame (RFC 6455 section 5.2) around UTF-8 `payload`."""
    return bytes(Frame(Opcode.TEXT, payload).serialize(mask=False))


class Connection(WebSocketsSansIOProtocol):
    """uvicorn's sans-I/O WebSocket, able to write ready-made frames and to tell when the reader is slow."""

    listener: Listener | None = None
    on_lost: Callable[[], None] | None = None
    """Called once when the connection is lost."""
    paused = False
    write_frame: Callable[[bytes], None]
    """Writes a ready-made frame: the transport's own method, since a broadcast has no time for a second call. A
    listener that was told `full`, `closing` or `lost` does not use it until it is told `writable`.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # Not 0: a TLS transport pauses at `size >= high`, so it would be paused for ever.
        self.write_frame = self.transport.write
        self.transport.set_write_buffer_limits(high=1, low=0)
        raw = transport.get_extra_info("socket")
        option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if raw is not None and option is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.IPPROTO_TCP, option, NOTSENT_LOWAT)

    async def run_asgi(self) -> None:
        """Run the route; if it attached a listener, the connection stays open after the route has returned."""
        extensions: dict[str, Any] = self.scope.setdefault("extensions", {})
        extensions[EXTENSION] = self
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        finally:
            if not self.handshake_complete:
                self.send_500_response()
            if self.listener is None and self.close_timer is None:
                self.transport.close()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("socket_route_failed", exc_info=fault)

    def attach(self, listener: Listener) -> None:
        """Deliver messages to `listener` from now on, beginning with those already queued."""
        self.listener = listener
        while not self.queue.empty():
            event = self.queue.get_nowait()
            if event["type"] == "websocket.receive":
                listener.received(event.get("text") or event.get("bytes") or "")
            elif event["type"] == "websocket.disconnect":
                self._let_go()
                return
        if self.read_paused:
            self.resume_receiving()

    @property
    def open(self) -> bool:
        return self.conn.state is State.OPEN and not self.close_sent and not self.disconnected

    @property
    def waiting_bytes(self) -> int:
        return self.transport.get_write_buffer_size()

    def pause_receiving(self) -> None:
        if not self.read_paused and not self.disconnected:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_receiving(self) -> None:
        if self.read_paused and not self.disconnected:
            self.read_paused = False
            self.transport.resume_reading()

    def end(self, code: int, reason: str = "") -> None:
        """Close with a code; the connection is aborted after ABORT_AFTER_S if the other side does not read."""
        if self.open:
            self.conn.send_close(code, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self._tell_closing()
            self.resume_receiving()
        self._abort_later()

    def send_receive_event_to_app(self) -> None:
        if self.listener is None:
            super().send_receive_event_to_app()
            return
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if not self.close_sent:
            self.listener.received(bytes(data))

    def pause_writing(self) -> None:
        super().pause_writing()
        self.paused = True
        if self.listener is not None:
            self.listener.full()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.paused = False
        if self.listener is not None and self.open:
            self.listener.writable()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._let_go()
        if self.on_lost is not None:
            self.on_lost()
            self.on_lost = None

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._tell_closing()

    def handle_parser_exception(self) -> None:
        super().handle_parser_exception()
        self._tell_closing()

    def shutdown(self) -> None:
        super().shutdown()
        self._tell_closing()
        self._abort_later()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._tell_closing()
        self._abort_later()

    def _tell_closing(self) -> None:
        if self.listener is not None:
            self.listener.closing()

    def _let_go(self) -> None:
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.lost()

    def _abort_later(self) -> None:
        abort: Callable[[], None] = self.transport.abort
        if self.transport.get_write_buffer_size() or not self.transport.is_closing():
            self.loop.call_later(ABORT_AFTER_S, abort)


def connection_of(scope: Any) -> Connection:
    """The connection of a WebSocket's ASGI scope, where `run_asgi` has put it."""
    found = scope["extensions"][EXTENSION]
    assert isinstance(found, Connection)
    return found
