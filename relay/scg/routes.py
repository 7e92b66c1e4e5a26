"""The OpenSCG document over HTTP and WebSocket, word for word, plus our extras. Knows HTTP and nothing of storage."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, FastAPI, Query, Request, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from core.contracts import scg
from core.contracts.errors import ContractError
from relay.auth import Role
from relay.details import Detail, detail, with_details
from relay.entrance.access import GUARDED, Access
from relay.entrance.ports import base_url, websocket_base
from relay.errors import RelayError, SessionNotFound
from relay.rooms import Audience, Member
from relay.scg.live import Live
from relay.scg.rules import Part
from relay.scg.service import ScgService
from relay.scg.sessions import LiveSessions, canonical
from relay.scg.sockets import Sockets
from relay.scg.writer import Writer
from relay.wire import Connection, connection_of

CLOSE_BAD_ID, CLOSE_UNKNOWN, CLOSE_UNAUTHORIZED, CLOSE_FORBIDDEN, CLOSE_FULL = 1008, 4404, 4401, 4403, 1013
_CLOSE_CODES = {401: CLOSE_UNAUTHORIZED, 403: CLOSE_FORBIDDEN, 404: CLOSE_UNKNOWN, 503: CLOSE_FULL}


class Created(BaseModel):
    """The document's answer to Create Session."""

    model_config = ConfigDict(populate_by_name=True)

    session_id: str = Field(alias="sessionId")
    viewer_url: str = Field(alias="viewerUrl")
    websocket_url: str = Field(alias="websocketUrl")
    created_at: str = Field(alias="createdAt")


class Ended(BaseModel):
    message: str


class Summary(BaseModel):
    """A line of the list of sessions."""

    model_config = ConfigDict(populate_by_name=True)

    session_id: str = Field(alias="sessionId")
    started_at: str = Field(alias="startedAt")
    ended_at: str | None = Field(default=None, alias="endedAt")
    live: bool
    patient_connected: bool = Field(alias="patientConnected")
    viewer_count: int = Field(alias="viewerCount")
    source: str


class Listing(BaseModel):
    sessions: list[Summary]


class Seat:
    """One socket in a session's room: passes its messages to the service, and acknowledgements back."""

    source = "socket"

    def __init__(
        self,
        sockets: Sockets,
        writer: Writer,
        live: Live,
        connection: Connection,
        audience: Audience,
        part: Part,
    ) -> None:
        self._sockets = sockets
        self._writer = writer
        self._live = live
        self._connection = connection
        self._member = Member(connection, audience)
        self._part = part

    def take(self, after: float | None = None) -> None:
        """Enter the room; from now on the connection calls this object."""
        self._sockets.enter(self._live, self._member, self._part, after)
        self._connection.attach(self)

    def received(self, data: str | bytes) -> None:
        self._sockets.message(self._live, self._member, self._part, data, self)
        if self._writer.full:
            self._connection.pause_receiving()
            self._writer.when_space(self._connection.resume_receiving)

    def full(self) -> None:
        self._live.room.fall_behind(self._member)

    def closing(self) -> None:
        self._live.room.leave(self._member)

    def writable(self) -> None:
        self._live.room.catch_up(self._member)

    def lost(self) -> None:
        self._sockets.leave(self._live, self._member, self._part)

    def ack(self, boot: str, seq: int) -> None:
        self._live.room.send(self._member, scg.ack(boot, [[seq, seq]]))


def application(
    service: ScgService, sessions: LiveSessions, sockets: Sockets, writer: Writer, access: Access, public_url: str
) -> FastAPI:
    """The OpenSCG API as an application of its own, with its own error bodies and its own OpenAPI document."""
    app = FastAPI(title="OpenSCG", version="0.1", docs_url=None, redoc_url=None)
    app.include_router(_sessions(service, access, public_url))
    app.include_router(_socket(sessions, sockets, writer, access))
    with_details(app)
    app.add_exception_handler(ContractError, _on_contract_error)
    return app


def _sessions(service: ScgService, access: Access, public_url: str) -> APIRouter:
    router = APIRouter(prefix="/api/v1/sessions", tags=["sessions"])
    missing: dict[int | str, dict[str, Any]] = {404: {"model": Detail}}

    @router.post("", response_model=Created, summary="Create Session")
    async def create(request: Request) -> Created:
        """A new session, and the addresses to measure and to watch it. Any body is ignored."""
        access.may_measure(access.principal(request), None)
        headers = request.headers
        session = await service.create(
            user_agent=headers.get("user-agent", ""),
            platform=headers.get("sec-ch-ua-platform", "").strip('"'),
        )
        guarded = request.scope.get(GUARDED, False)
        watch = f"?token={access.link(session.id, Role.VIEWER)}" if guarded else ""
        measure = f"?token={access.link(session.id, Role.PATIENT)}" if guarded else ""
        return Created(
            session_id=session.id,
            viewer_url=f"{base_url(request, public_url)}/view/{session.id}{watch}",
            websocket_url=f"{websocket_base(request, public_url)}/ws/{session.id}{measure}",
            created_at=scg.iso(session.started_at_ms),
        )

    @router.get("", response_model=Listing, response_model_exclude_none=True, summary="List Sessions")
    async def listing(request: Request, limit: int = Query(50, ge=1, le=200)) -> Any:
        """The newest sessions, and who is in them (an extra; staff only where tokens are asked for)."""
        access.may_list(access.principal(request))
        return {"sessions": await service.recent(limit)}

    @router.get("/{session_id}", summary="Get Session Data", responses=missing)
    async def get(request: Request, session_id: str, version: str = Query("0.1", alias="format")) -> StreamingResponse:
        """The Full Session Object; of a live session, what is stored so far. `?format=0.2` gives samples as tuples."""
        found = _known(session_id)
        access.may_view(access.principal(request), found)
        return StreamingResponse(await service.export(found, tuples=version == "0.2"), media_type="application/json")

    @router.get("/{session_id}/data", summary="Get Samples", responses=missing)
    async def data(request: Request, session_id: str) -> StreamingResponse:
        found = _known(session_id)
        access.may_view(access.principal(request), found)
        return StreamingResponse(await service.samples(found), media_type="application/json")

    @router.post("/{session_id}/end", response_model=Ended, summary="End Session", responses=missing)
    async def end(request: Request, session_id: str) -> Ended:
        found = _known(session_id)
        who = access.principal(request)
        access.may_feed(who, found, (await service.find(found)).kit)
        saved = await service.end(found)
        return Ended(message=f"Session ended successfully. {saved} samples saved.")

    return router


def _socket(sessions: LiveSessions, sockets: Sockets, writer: Writer, access: Access) -> APIRouter:
    router = APIRouter()

    @router.websocket("/ws/{session_id}")
    async def enter(socket: WebSocket, session_id: str) -> None:
        """Patient or viewer, by `?role=`; without a role, the first to send samples is the patient."""
        await socket.accept()
        try:
            found = str(UUID(session_id))
        except ValueError:
            await socket.close(CLOSE_BAD_ID, "A session's id is a UUID")
            return
        part = _part(socket.query_params.get("role"))
        try:
            who = access.principal(socket)
            if part is not Part.PATIENT:
                access.may_view(who, found)
            live = await sessions.of(found)
            if part is Part.PATIENT:
                access.may_feed(who, found, live.session.kit)
            elif not access.feeds(who, found, live.session.kit):
                part = Part.VIEWER
            sockets.check_room()
            await sockets.expect(live)
        except RelayError as error:
            await socket.close(_CLOSE_CODES.get(error.status, 1011), str(error)[:120])
            return
        audience = _audience(part, socket.query_params.get("with", ""))
        connection = connection_of(socket.scope)
        Seat(sockets, writer, live, connection, audience, part).take(_after(socket.query_params.get("after")))
        access.hold(connection, who, measures=part is Part.PATIENT)

    return router


def _part(role: str | None) -> Part:
    return Part(role) if role in (Part.PATIENT, Part.VIEWER) else Part.UNKNOWN


def _audience(part: Part, extras: str) -> Audience:
    if part is Part.PATIENT:
        return Audience.PATIENT
    return Audience.ANALYST if "analysis" in extras.split(",") else Audience.VIEWER


def _after(said: str | None) -> float | None:
    """`?after=` of a returning viewer: the last grid time it has, in ms. Anything but a number counts as absent."""
    try:
        return float(said) if said else None
    except ValueError:
        return None


def _known(session_id: str) -> str:
    try:
        return canonical(session_id)
    except ContractError:
        raise SessionNotFound("Session not found") from None


async def _on_contract_error(_: Request, error: Exception) -> JSONResponse:
    return detail(400, str(error))
