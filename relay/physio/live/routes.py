"""Which kit observes a session, and its live skeleton, over HTTP and WebSocket (extras to the physiotherapy document).

When `GET …/live` is upgraded to a WebSocket, the access token is the query parameter `token`: browsers cannot set
headers on a WebSocket.
"""

from __future__ import annotations

import uuid
from typing import Any

from fastapi import APIRouter, FastAPI, Request, WebSocket
from starlette.responses import Response

from relay.accounts.routes import Guards
from relay.accounts.service import Accounts, Visit
from relay.auth import Principal, Role
from relay.entrance.access import Access
from relay.envelopes import answer
from relay.errors import NotFound, RelayError, Unauthorized
from relay.physio.live.rules import AssignKit, SetPrivacy
from relay.physio.live.service import LiveService, Watched
from relay.rooms import Audience, Member
from relay.wire import Connection, connection_of

CLOSE_CODES = {401: 4401, 403: 4403, 404: 4404, 503: 1013}


class Seat:
    """A viewer's WebSocket in a session's room. Only its heartbeat is answered; anything else it sends is ignored."""

    def __init__(self, service: LiveService, watched: Watched, connection: Connection) -> None:
        self._service, self._watched, self._connection = service, watched, connection
        self._member = Member(connection, Audience.VIEWER)

    def take(self) -> None:
        """Enter the room; from now on the connection delivers its events to this object."""
        self._service.join(self._watched, self._member)
        self._connection.attach(self)

    def received(self, data: str | bytes) -> None:
        self._service.message(self._watched, self._member, data)

    def full(self) -> None:
        self._watched.room.fall_behind(self._member)

    def writable(self) -> None:
        self._watched.room.catch_up(self._member)

    def closing(self) -> None:
        self._watched.room.leave(self._member)

    def lost(self) -> None:
        self._service.leave(self._watched, self._member)


def add_live(app: FastAPI, service: LiveService, accounts: Accounts, access: Access) -> None:
    """Add the routes to the physiotherapy application."""
    app.include_router(_routes(service, Guards(accounts)))
    app.include_router(_socket(service, accounts, access))


def _routes(service: LiveService, guards: Guards) -> APIRouter:
    router = APIRouter(prefix="/api/sessions/{session_id}", tags=["live"])
    anyone = guards.only(Role.PATIENT, Role.PHYSIOTHERAPIST, Role.ADMIN)

    @router.get("/kit", summary="Which kit sees the session, and how that goes (an extra)")
    async def kit(request: Request, session_id: str, visit: Visit = anyone) -> Response:
        return answer(request, await service.show(visit, _known(session_id)))

    @router.put("/kit", summary="Have a kit see the session (an extra)")
    async def assign(request: Request, session_id: str, body: AssignKit, visit: Visit = anyone) -> Response:
        return answer(request, await service.assign(visit, _known(session_id), body.kit))

    @router.delete("/kit", summary="Let it look no longer (an extra)")
    async def release(request: Request, session_id: str, visit: Visit = anyone) -> Response:
        return answer(request, await service.release(visit, _known(session_id)))

    @router.put("/privacy", summary="What may leave the home: skeleton, blurred, clear (an extra)")
    async def privacy(request: Request, session_id: str, body: SetPrivacy, visit: Visit = anyone) -> Response:
        found: dict[str, Any] = await service.set_privacy(visit, _known(session_id), body.level, body.minutes)
        return answer(request, found)

    return router


def _socket(service: LiveService, accounts: Accounts, access: Access) -> APIRouter:
    router = APIRouter()

    @router.websocket("/api/sessions/{session_id}/live")
    async def enter(socket: WebSocket, session_id: str) -> None:
        """The live skeleton, for whoever may see the session."""
        await socket.accept()
        try:
            visit = await _visit(socket, accounts)
            watched = await service.enter(visit, _known(session_id))
        except RelayError as error:
            await socket.close(CLOSE_CODES.get(error.status, 1011), str(error)[:120])
            return
        connection = connection_of(socket.scope)
        Seat(service, watched, connection).take()
        access.hold(connection, Principal(visit.account.id, visit.account.role, sign_in=visit.sign_in))

    return router


async def _visit(socket: WebSocket, accounts: Accounts) -> Visit:
    token = socket.query_params.get("token", "")
    if not token:
        raise Unauthorized("Sign in first.")
    account, sign_in = await accounts.who(token)
    address = socket.client.host if socket.client else None
    return Visit(account, sign_in, address, socket.headers.get("user-agent", "")[:500])


def _known(session_id: str) -> str:
    try:
        return str(uuid.UUID(session_id))
    except ValueError:
        raise NotFound("Session not found") from None
