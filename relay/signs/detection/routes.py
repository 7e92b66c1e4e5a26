"""The sign detection WebSocket. Knows nothing of hands."""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

from relay.entrance.access import Access
from relay.errors import RelayError
from relay.process.metrics import Metrics
from relay.signs.detection.service import Signing, SigningService
from relay.wire import Connection, connection_of, text_frame

PATH = "/ws/sign-detection"
CLOSE = {401: 4401, 403: 4403, 503: 1013}
MAX_WAITING_BYTES = 262_144
"""Bytes of answers a client may leave unread; further ones are dropped, since newer answers will follow."""


class Seat:
    """The WebSocket of a client that signs or watches."""

    def __init__(self, service: SigningService, connection: Connection, metrics: Metrics, owner: str | None) -> None:
        self._connection = connection
        self._metrics = metrics
        self._open = True
        self._signing = Signing(service, self._send, owner)

    def take(self) -> None:
        self._connection.attach(self)

    def _send(self, message: bytes) -> None:
        if not self._open or self._connection.waiting_bytes > MAX_WAITING_BYTES:
            self._metrics.signs_dropped.labels("answer").inc()
            return
        self._connection.write_frame(text_frame(message))

    def received(self, data: str | bytes) -> None:
        self._signing.message(data)

    def full(self) -> None:
        """Does nothing: `waiting_bytes` decides when answers are dropped."""

    def writable(self) -> None:
        """Does nothing: answers that were dropped are out of date."""

    def closing(self) -> None:
        self._open = False

    def lost(self) -> None:
        self._open = False
        self._signing.gone()


def routes(service: SigningService, access: Access, metrics: Metrics) -> APIRouter:
    router = APIRouter()

    @router.websocket(PATH)
    async def enter(socket: WebSocket) -> None:
        """Frames and commands in; detections, translations and errors out."""
        await socket.accept()
        try:
            who = access.principal(socket)
            service.enter()
        except RelayError as error:
            await socket.close(CLOSE.get(error.status, 1011), str(error)[:120])
            return
        connection = connection_of(socket.scope)
        Seat(service, connection, metrics, access.reach(who)).take()
        access.hold(connection, who)

    return router
