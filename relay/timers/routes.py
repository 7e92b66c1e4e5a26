"""The SyncKairos document over HTTP and WebSocket, word for word, plus our extras. Knows HTTP and nothing of storage.

Plain Starlette routes, not FastAPI models: a switch is the hot path, and msgspec checks a body in 1 % of the time. The
OpenAPI document is generated separately, in relay.timers.openapi.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, TypeVar

import msgspec
from fastapi import FastAPI, Request, Response, WebSocket
from starlette.exceptions import HTTPException

from core.contracts import timers
from core.contracts.errors import ContractError, InvalidMessage
from core.contracts.scg import iso
from core.contracts.timers import AddParticipant, CreateSession, Expectation, Switch, UpdateTime
from relay.auth import Principal, Role
from relay.bodies import whole_body
from relay.entrance.access import STAFF, Access
from relay.errors import Forbidden, RelayError, SessionNotFound, TooMany
from relay.process.metrics import Metrics
from relay.rooms import Audience, Member
from relay.timers.live import Live
from relay.timers.openapi import document
from relay.timers.service import TimersService
from relay.wire import Connection, connection_of

MAX_BODY_BYTES = 1_048_576
RECENT_AT_MOST = 200
NOT_FOUND, NOT_ALLOWED = "NOT_FOUND", "METHOD_NOT_ALLOWED"
CLOSE_FULL = 1013

_encode = msgspec.json.Encoder().encode
_Body = TypeVar("_Body", Switch, Expectation, AddParticipant, UpdateTime)
Handler = Callable[[Request], Awaitable[Response]]


class Seat:
    """A socket in a session's room: passes its messages to the service, and tells the room whether it can take more."""

    def __init__(self, service: TimersService, live: Live, connection: Connection) -> None:
        self._service = service
        self._live = live
        self._connection = connection
        self._member = Member(connection, Audience.VIEWER)

    def take(self) -> None:
        """Enter the room; from now on the connection calls this object."""
        self._service.enter(self._live, self._member)
        self._connection.attach(self)

    def received(self, data: str | bytes) -> None:
        self._service.message(self._live, self._member, data)

    def full(self) -> None:
        if self._live.room is not None:
            self._live.room.fall_behind(self._member)

    def writable(self) -> None:
        if self._live.room is not None:
            self._live.room.catch_up(self._member)

    def closing(self) -> None:
        self._live.leave(self._member)

    def lost(self) -> None:
        self._service.leave(self._live, self._member)


class Api:
    """The document's endpoints, each a method. All need a token, on every listener."""

    def __init__(self, service: TimersService, access: Access) -> None:
        self._service = service
        self._access = access

    async def create(self, request: Request) -> Response:
        who = self._acting(request)
        wanted = timers.decode(await _body(request), CreateSession)
        _within(who, wanted.session_id)
        return _json(await self._service.create(wanted), 201)

    async def listing(self, request: Request) -> Response:
        if self._access.bearer(request).role not in STAFF:
            raise Forbidden("Only staff see the list of timer sessions.")
        return _json({"sessions": await self._service.recent(_limit(request))})

    async def get(self, request: Request) -> Response:
        live = await self._session(request, self._access.bearer(request))
        return _json(await self._service.look(live))

    async def start(self, request: Request) -> Response:
        return await self._done(request, Expectation, lambda live, said: self._service.start(live, said))

    async def pause(self, request: Request) -> Response:
        return await self._done(request, Expectation, lambda live, said: self._service.pause(live, said))

    async def resume(self, request: Request) -> Response:
        return await self._done(request, Expectation, lambda live, said: self._service.resume(live, said))

    async def complete(self, request: Request) -> Response:
        return await self._done(request, Expectation, lambda live, said: self._service.complete(live, said))

    async def switch(self, request: Request) -> Response:
        return await self._done(request, Switch, self._service.switch)

    async def add(self, request: Request) -> Response:
        return await self._done(request, AddParticipant, self._service.add)

    async def update_time(self, request: Request) -> Response:
        who = self._access.bearer(request)
        if who.role not in STAFF:
            raise Forbidden("Only staff adjust a participant's time.")
        name, by = request.path_params["participant_id"], f"{who.role.value} {who.subject}"[:256]
        return await self._done(request, UpdateTime, lambda live, said: self._service.update_time(live, name, said, by))

    async def audit(self, request: Request) -> Response:
        who = self._access.bearer(request)
        if who.role not in STAFF:
            raise Forbidden("Only staff see who adjusted what.")
        found = await self._service.audit(await self._session(request, who))
        return _json({"adjustments": [asdict(one) | {"at": iso(one.at_ms)} for one in found]})

    async def delete(self, request: Request) -> Response:
        live = await self._session(request, self._acting(request))
        await self._service.delete(live)
        return _json({"success": True, "message": f"Session deleted for {live.id}"})

    async def time(self, request: Request) -> Response:
        self._access.bearer(request)
        now_ms = self._service.now_ms()
        return _json({"server_time": iso(now_ms), "timestamp_ms": now_ms})

    async def enter(self, socket: WebSocket) -> None:
        """A socket is refused before it is accepted, with the status and body that a request would get."""
        try:
            who = self._access.bearer(socket)
            await self._session(socket, who)
            self._service.check_room()
        except RelayError as error:
            await socket.send_denial_response(_refusal(error))
            return
        await socket.accept()
        live = self._service.known(socket.path_params["session_id"])
        if live is None or live.gone:
            await socket.close(1000, "Session deleted")
            return
        connection = connection_of(socket.scope)
        Seat(self._service, live, connection).take()
        self._access.hold(connection, who)

    async def _done(self, request: Request, kind: type[_Body], do: Callable[[Live, Any], dict[str, Any]]) -> Response:
        """One change: find the session, check the caller, do it, answer when it is as durable as the settings ask."""
        live = await self._session(request, self._acting(request))
        said = timers.decode(await _body(request), kind)
        if "if-match" in request.headers:
            said = msgspec.structs.replace(said, expected_version=_version(request.headers["if-match"]))
        wanted = said.expected_version if kind is Expectation else said
        return _json(await self._service.change(live, lambda it: do(it, wanted)))

    def _acting(self, request: Request) -> Principal:
        who = self._access.bearer(request)
        if who.role is Role.VIEWER:
            raise Forbidden("This link lets you look. Ask for one that may act (homeside token).")
        return who

    async def _session(self, connection: Request | WebSocket, who: Principal) -> Live:
        session_id = connection.path_params["session_id"]
        _within(who, session_id)
        return self._service.known(session_id) or await self._service.find(session_id)


def application(service: TimersService, access: Access, metrics: Metrics) -> FastAPI:
    """The timers API as an application of its own, with its own error bodies and its own OpenAPI document."""
    app = FastAPI(title="SyncKairos", version="2.0", docs_url=None, redoc_url=None)
    api = Api(service, access)
    one = "/v1/sessions/{session_id}"
    plain: list[tuple[str, str, Handler]] = [
        ("POST", f"{one}/switch", api.switch),
        ("GET", one, api.get),
        ("GET", "/v1/time", api.time),
        ("POST", f"{one}/start", api.start),
        ("POST", f"{one}/pause", api.pause),
        ("POST", f"{one}/resume", api.resume),
        ("POST", f"{one}/complete", api.complete),
        ("POST", f"{one}/participants", api.add),
        ("PATCH", one + "/participants/{participant_id:path}", api.update_time),
        ("GET", f"{one}/audit", api.audit),
        ("DELETE", one, api.delete),
        ("POST", "/v1/sessions", api.create),
        ("GET", "/v1/sessions", api.listing),
    ]
    for method, path, handler in plain:
        app.add_route(path, handler, methods=[method])
    for path in ("/sessions/{session_id}", one):
        app.router.add_websocket_route(path, api.enter)
    _refuse(app, metrics)
    app.openapi = document  # type: ignore[method-assign]
    return app


def _refuse(app: FastAPI, metrics: Metrics) -> None:
    """Every error is answered in the document's body, and counted."""

    async def answer(_: Request, error: Exception) -> Response:
        refusal = _refusal(error)
        metrics.timer_refused.labels(_code(error)).inc()
        return refusal

    for kind in (RelayError, ContractError, HTTPException):
        app.add_exception_handler(kind, answer)


def _refusal(error: Exception) -> Response:
    status, headers, text = 500, {}, str(error)
    if isinstance(error, RelayError):
        status = error.status
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        if error.retryable:
            headers["Retry-After"] = str(error.retry_after_s if isinstance(error, TooMany) else 2)
    elif isinstance(error, ContractError):
        status = 400
    elif isinstance(error, HTTPException):
        status, headers, text = error.status_code, dict(error.headers or {}), error.detail
    return _json({"error": {"code": _code(error), "message": text}}, status, headers)


def _code(error: Exception) -> str:
    if isinstance(error, RelayError):
        return error.code
    if isinstance(error, HTTPException):
        return {404: NOT_FOUND, 405: NOT_ALLOWED}.get(error.status_code, "HTTP_ERROR")
    return "VALIDATION_ERROR"


def _json(body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    found = headers or {}
    if "version" in body:
        found["ETag"] = f'"{body["version"]}"'
    return Response(_encode(body), status, found, "application/json")


async def _body(request: Request) -> bytes:
    return await whole_body(
        request, MAX_BODY_BYTES, InvalidMessage(f"Expected a body of at most {MAX_BODY_BYTES} bytes.")
    )


def _version(if_match: str) -> int | None:
    """The version that If-Match asks for (RFC 9110 section 13.1.1); None for `*`."""
    wanted = if_match.strip().removeprefix("W/").strip('"')
    if wanted == "*":
        return None
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 16):
        raise InvalidMessage('Expected a version such as "3" - at If-Match')
    return int(wanted)


def _limit(request: Request) -> int:
    wanted = request.query_params.get("limit", "50")
    if not (wanted.isascii() and wanted.isdigit() and 1 <= int(wanted[:9]) <= RECENT_AT_MOST):
        raise InvalidMessage(f"Expected 1 to {RECENT_AT_MOST} - at `limit`")
    return int(wanted)


def _within(who: Principal, session_id: str) -> None:
    """A link's bearer reaches one session; any other is answered as if it did not exist."""
    if who.session is not None and who.session != session_id:
        raise SessionNotFound(f"There is no session {session_id[:128]!r} for this link.")
