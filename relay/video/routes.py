"""The video API over HTTP, exactly as its document says, with WHIP (RFC 9725) and WHEP beside it. Knows nothing
of RTP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import Match
from starlette.types import Scope

from relay.bodies import whole_body
from relay.details import Detail, detail, with_details
from relay.entrance.access import Access
from relay.errors import BadOffer, Full, TooLarge
from relay.openapi30 import as_3_0
from relay.video import rules
from relay.video.cameras.places import Wish
from relay.video.cameras.routes import Kit, cameras, recordings
from relay.video.handoff import Server
from relay.video.permissions import bound_to, may_end, may_publish, may_watch, own
from relay.video.service import VideoService

SERVICE, VERSION = "AI Video Streaming Backend", "1.0.0"
MOST_BODY = 131_072
SDP = "application/sdp"
ROOT = {
    "service": SERVICE,
    "version": VERSION,
    "status": "running",
    "endpoints": {
        "docs": "/docs",
        "redoc": "/redoc",
        "api": {"offer": "/api/offer", "sessions": "/api/sessions"},
    },
}


class Offer(BaseModel):
    sdp: str = Field(description="Session Description Protocol offer from client")
    type: str = Field(description='Must be "offer"')
    video_path: str | None = Field(None, description="A file of the media folder; null for the live camera")
    kit: str | None = Field(None, description="This kit's camera")
    session: str | None = Field(None, description="The camera of this heart session")


class Answer(BaseModel):
    sdp: str = Field(description="SDP answer to complete WebRTC handshake")
    type: str = Field(description='Will be "answer"')
    session_id: UUID = Field(description="UUID for tracking this session")


class States(BaseModel):
    session_id: str
    connection_state: str
    ice_connection_state: str
    ice_gathering_state: str
    signaling_state: str


class Sessions(BaseModel):
    active_sessions: list[str]
    count: int


class Closed(BaseModel):
    status: str
    message: str
    active_connections: int


class SignalingHealth(BaseModel):
    status: str
    active_connections: int
    service: str


class ForPrograms(APIRoute):
    """A route for `/` that answers programs; at the root of a port, browsers get the pages instead."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        accept = next((value for name, value in scope.get("headers", ()) if name == b"accept"), b"")
        if not scope.get("root_path") and rules.prefers_html(accept.decode("latin-1")):
            return Match.NONE, {}
        return super().matches(scope)


def application(
    service: VideoService, access: Access, documentation: Callable[[], APIRouter], beyond: Server
) -> FastAPI:
    """The video API as its own FastAPI application. `documentation` makes its /docs and /redoc; `beyond` is the media
    server for viewers this relay has no room for.
    """
    app = Documented(title=SERVICE, version=VERSION, docs_url=None, redoc_url=None)
    app.include_router(_service(service))
    app.include_router(_signaling(service, access))
    app.include_router(_exchange(service, access, beyond))
    app.include_router(cameras(service, access))
    app.include_router(recordings(service, access))
    app.include_router(documentation())
    with_details(app)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["Location", "Link", "ETag"],
    )
    return app


class Documented(FastAPI):
    """A FastAPI application whose OpenAPI document has the version this API's document promises."""

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            self.openapi_schema = as_3_0(super().openapi())
        return self.openapi_schema


def _service(service: VideoService) -> APIRouter:
    router = APIRouter(tags=["service"])
    root = APIRouter(tags=["service"], route_class=ForPrograms)

    @root.get("/", summary="Service Discovery Endpoint")
    async def about() -> JSONResponse:
        return JSONResponse(ROOT, headers={"Vary": "Accept"})

    @router.get("/health", summary="Health Check Endpoint")
    async def health() -> dict[str, Any]:
        there = await service.media.prepare()
        return {
            "status": "healthy" if there else "degraded",
            "service": SERVICE,
            "version": VERSION,
            "video_available": there,
            "message": "Service is running" if there else "Service is running without its sample video",
        }

    @router.get("/info", summary="Detailed Service Information")
    async def info() -> dict[str, Any]:
        sample, there = service.media.sample, await service.media.prepare()
        return {
            "application": {
                "name": SERVICE,
                "version": VERSION,
                "description": "Real-time AI video processing with WebRTC streaming",
            },
            "video": {"path": sample.name, "exists": there, "target_fps": 30, "resolution": "640x480"},
            "webrtc": {"stun_servers": [{"urls": url} for url, _, _ in service.network.servers if url[:4] == "stun"]},
            "ai": {"processing_enabled": True, "status": "landmarks are found on the kit and come with each frame"},
            "cors": {"allowed_origins": ["*"]},
        }

    router.include_router(root)
    return router


def _signaling(service: VideoService, access: Access) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["signaling"])
    missing: dict[int | str, dict[str, Any]] = {code: {"model": Detail} for code in (401, 403, 404)}
    refused: dict[int | str, dict[str, Any]] = {code: {"model": Detail} for code in (400, 401, 403, 404, 413, 500, 503)}

    @router.post("/offer", response_model=Answer, responses=refused, summary="Exchange SDP Offer/Answer")
    async def offer(request: Request, body: Offer) -> dict[str, str]:
        who = access.principal(request)
        if body.type != "offer":
            raise BadOffer(f"Expected type 'offer', got '{body.type[:40]}'")
        publication = await service.source(Wish(body.video_path, body.kit, body.session))
        may_watch(who, publication)
        session, sdp = await service.viewers.watch(body.sdp, publication, who.subject, bound_to(who))
        access.hold(service.viewers.session(session), who)
        return {"sdp": sdp, "type": "answer", "session_id": session}

    @router.get("/sessions", response_model=Sessions, summary="List Active Sessions")
    async def sessions(request: Request) -> dict[str, Any]:
        found = service.viewers.sessions(own(access.principal(request)))
        return {"active_sessions": found, "count": len(found)}

    @router.get("/session/{session_id}", response_model=States, responses=missing, summary="Get Session Information")
    async def session(request: Request, session_id: str) -> dict[str, str]:
        may_end(access.principal(request), service.viewers, session_id)
        return service.viewers.session(session_id).states()

    @router.delete("/session/{session_id}", response_model=Closed, responses=missing, summary="Close Session")
    async def close(request: Request, session_id: str) -> dict[str, Any]:
        may_end(access.principal(request), service.viewers, session_id)
        remaining = await service.viewers.end(session_id)
        return {"status": "success", "message": f"Session {session_id} closed", "active_connections": remaining}

    @router.get("/health", response_model=SignalingHealth, summary="Signaling Service Health")
    async def health() -> dict[str, Any]:
        watching = len(service.viewers.sessions())
        return {"status": "healthy", "active_connections": watching, "service": "WebRTC Signaling"}

    @router.get("/ice-servers", summary="STUN and TURN servers for this relay's clients")
    async def ice_servers(request: Request) -> dict[str, Any]:
        access.principal(request)
        return {"iceServers": [_server(*one) for one in service.network.servers]}

    return router


def _server(url: str, username: str, password: str) -> dict[str, str]:
    """An ICE server as a browser's RTCPeerConnection takes it."""
    return {"urls": url, **({"username": username, "credential": password} if username else {})}


def _exchange(service: VideoService, access: Access, beyond: Server) -> APIRouter:
    """Routes of WHIP and WHEP: SDP posted, SDP answered, a resource to delete. Trickle ICE is neither needed nor
    offered.
    """
    refused: dict[int | str, dict[str, Any]] = {code: {"model": Detail} for code in (400, 401, 403, 404)}
    router = APIRouter(prefix="/api", tags=["whip", "whep"], responses=refused)
    _whip(router, service, access)
    _whep(router, service, access, beyond)

    @router.options("/whip/{kit}", include_in_schema=False)
    @router.options("/whep/{kit}", include_in_schema=False)
    async def accepts(request: Request, kit: Kit) -> Response:
        return Response(status_code=204, headers={"Accept-Post": SDP, **_links(service)})

    return router


_POSTED: dict[str, Any] = {
    "status_code": 201,
    "response_class": Response,
    "responses": {code: {"model": Detail} for code in (413, 415, 500, 503)},
    "openapi_extra": {"requestBody": {"required": True, "content": {SDP: {"schema": {"type": "string"}}}}},
}


def _whip(router: APIRouter, service: VideoService, access: Access) -> None:
    @router.post("/whip/{kit}", summary="Publish (WHIP)", **_POSTED)
    async def publish(request: Request, kit: Kit, session: UUID | None = None) -> Response:
        """Start sending a camera: for a kit, or any WHIP client with a kit's token."""
        may_publish(access.principal(request), kit)
        found, sdp = await service.cameras.publish(await _sdp(request), kit, str(session) if session else None)
        return _created(request, f"/api/whip/{kit}/{found}", sdp, service)

    @router.delete("/whip/{kit}/{publishing}", summary="Stop publishing (WHIP)", response_class=Response)
    async def unpublish(request: Request, kit: Kit, publishing: str) -> Response:
        may_publish(access.principal(request), kit)
        await service.cameras.unpublish(kit, publishing)
        return Response(status_code=200)


def _whep(router: APIRouter, service: VideoService, access: Access, beyond: Server) -> None:
    @router.post("/whep/{kit}", summary="Play (WHEP)", **_POSTED)
    async def play(request: Request, kit: Kit) -> Response:
        """Watch a kit's camera with any WHEP client; the kit `sample` is the sample video."""
        who = access.principal(request)
        publication = await (service.sample() if kit == "sample" else service.source(Wish(kit=kit)))
        may_watch(who, publication)
        sdp = await _sdp(request)
        try:
            found, answer = await service.viewers.watch(sdp, publication, who.subject, bound_to(who))
        except Full:
            if not beyond.whep or kit == "sample":
                raise
            return Response(status_code=307, headers={"Location": beyond.whep_of(kit)})
        access.hold(service.viewers.session(found), who)
        return _created(request, f"/api/whep/{kit}/{found}", answer, service)

    @router.delete("/whep/{kit}/{session_id}", summary="Stop playing (WHEP)", response_class=Response)
    async def stop(request: Request, kit: Kit, session_id: str) -> Response:
        may_end(access.principal(request), service.viewers, session_id)
        await service.viewers.end(session_id)
        return Response(status_code=200)


# -- bodies ------------------------------------------------------------------------------------------------------------


async def _sdp(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != SDP:
        raise StarletteHTTPException(415, f"Expected a body of type {SDP}", headers={"Accept-Post": SDP})
    body = await whole_body(request, MOST_BODY, TooLarge(f"An offer may have {MOST_BODY} bytes at most"))
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BadOffer("The SDP offer is not UTF-8") from None


def _created(request: Request, path: str, sdp: str, service: VideoService) -> Response:
    prefix = str(request.scope.get("root_path", ""))
    headers = {"Location": f"{prefix}{path}", **_links(service)}
    return Response(sdp, 201, headers, SDP)


def _links(service: VideoService) -> dict[str, str]:
    """Link headers naming ICE servers (RFC 9725 section 4.6); those with a password are for the relay itself only."""
    urls = [url for url, user, _ in service.network.servers if not user]
    return {"Link": ", ".join(f'<{url}>; rel="ice-server"' for url in urls)} if urls else {}


async def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()[:5]
    told = "; ".join(f"{'.'.join(str(part) for part in one['loc'][1:]) or 'body'}: {one['msg']}" for one in found)
    return detail(400, told)
