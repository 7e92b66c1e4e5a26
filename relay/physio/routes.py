"""The physiotherapy API over HTTP, exactly as its document says, and its extras. Knows nothing of storage."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.middleware.cors import CORSMiddleware
from starlette.responses import Response

from core.contracts.physio import CreateSession, GenerateUrl, Moment, SubmitReview, UpdateProfile, UpdateSession
from relay.accounts import routes as auth
from relay.accounts.routes import Guards
from relay.accounts.service import Accounts, Visit
from relay.auth import Role
from relay.bodies import whole_body
from relay.envelopes import Limiter, answer, documented, iso, speak_envelopes
from relay.errors import NotFound, TooLarge
from relay.physio.openapi import described
from relay.physio.records import routes as record
from relay.physio.records.service import Records
from relay.physio.service import Page, PhysioService
from relay.physio.shapes import canonical
from relay.physio.store import Filters, Period
from relay.physio.video import routes as video
from relay.physio.video.service import Videos

Base = Callable[[Request], str]
MAX_BODY = 8 * 1024 * 1024
"""Bytes of a request body: one minute of 33 landmarks at 40 frames per second; longer recordings come as several
bodies.
"""
Status = Literal["pending", "recording", "processing", "review_pending", "reviewed", "completed"]
PageNumber = Annotated[int, Query(alias="page", ge=1, le=1_000_000)]
PageSize = Annotated[int, Query(alias="per_page", ge=1, le=100)]


def application(
    service: PhysioService,
    accounts: Accounts,
    videos: Videos,
    records: Records,
    base: Base,
    attempts: Limiter,
    origins: tuple[str, ...],
) -> FastAPI:
    """The physiotherapy API as its own FastAPI application. `base` gives the start of its links, prefix included."""
    app = FastAPI(title="Homeside physiotherapy", version="1.0", docs_url=None, redoc_url=None)
    guards = Guards(accounts)
    app.include_router(auth.routes(accounts, guards, attempts))
    app.include_router(_sessions(service, guards, base))
    app.include_router(_frames(service, guards, base))
    app.include_router(_patients(service, guards, base))
    app.include_router(_physio(service, guards, base))
    app.include_router(video.routes(videos))
    app.include_router(record.routes(records, guards))
    speak_envelopes(app)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["*"],
            allow_headers=["Authorization", "Content-Type", "Upload-Offset", "Upload-Complete"],
            expose_headers=["Upload-Offset", "Upload-Complete", "Upload-Limit"],
        )
    made = app.openapi
    app.openapi = cache(lambda: described(made()))  # type: ignore[method-assign]
    return app


def is_stream(path: str) -> bool:
    """Whether a path takes frames or video; these have many requests per session and a rate limit of their own."""
    return path.endswith("/data") or "/api/videos/" in path or "/api/upload/" in path


def _sessions(service: PhysioService, guards: Guards, base: Base) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["sessions"])
    anyone = guards.only(Role.PATIENT, Role.PHYSIOTHERAPIST, Role.ADMIN)

    @router.post("/sessions", status_code=201, summary="Create new session")
    async def create(request: Request, body: CreateSession, visit: Visit = anyone) -> Response:
        session, link, expires = await service.create(visit, body)
        root = base(request)
        urls = {"video": root + link, "metadata": f"{root}/api/sessions/{session}/data"}
        data = {"session_id": session, "status": "created", "upload_urls": urls, "expires_at": iso(expires)}
        return documented(request, data, 201)

    @router.get("/sessions", summary="List sessions")
    async def listing(
        request: Request,
        page: PageNumber = 1,
        per_page: PageSize = 20,
        status: Status | None = None,
        exercise_type: Annotated[str | None, Query(max_length=100)] = None,
        patient_id: uuid.UUID | None = None,
        visit: Visit = anyone,
    ) -> Response:
        filters = Filters(patient=str(patient_id) if patient_id else None, exercise=exercise_type, status=status)
        found, pagination = await service.sessions(visit, filters, Page(page, per_page))
        return answer(request, _linked(request, found, base), pagination=pagination)

    @router.get("/sessions/{session_id}", summary="Get session details")
    async def details(request: Request, session_id: str, visit: Visit = anyone) -> Response:
        data, video_url = await service.details(visit, _known(session_id))
        data["session"]["video_url"] = video_url and base(request) + video_url
        return documented(request, data)

    @router.put("/sessions/{session_id}", summary="Update session metadata")
    async def update(request: Request, session_id: str, body: UpdateSession, visit: Visit = anyone) -> Response:
        return answer(request, _linked(request, [await service.update(visit, _known(session_id), body)], base)[0])

    @router.delete("/sessions/{session_id}", summary="Delete session")
    async def delete(request: Request, session_id: str, visit: Visit = anyone) -> Response:
        await service.delete(visit, _known(session_id))
        return answer(request, {"session_id": _known(session_id), "deleted": True})

    return router


def _frames(service: PhysioService, guards: Guards, base: Base) -> APIRouter:
    """Routes for the contents of a session: its frames, their analysis, and the upload link of its video."""
    router = APIRouter(prefix="/api", tags=["sessions"])
    anyone = guards.only(Role.PATIENT, Role.PHYSIOTHERAPIST, Role.ADMIN)

    @router.post("/sessions/{session_id}/data", summary="Upload pose metadata")
    async def data(request: Request, session_id: str, visit: Visit = anyone) -> Response:
        """Upload frames. A frame with the same timestamp is stored once, however often it is sent."""
        body = await _body(request)
        return answer(request, await service.take(visit, _known(session_id), body))

    @router.get("/sessions/{session_id}/frames", summary="Frames with landmarks, in order (an extra)")
    async def frames(
        request: Request,
        session_id: str,
        after: Annotated[int, Query(ge=-1, le=2**53)] = -1,
        limit: Annotated[int, Query(ge=1, le=2000)] = 500,
        visit: Visit = anyone,
    ) -> Response:
        return answer(request, await service.frames(visit, _known(session_id), after, limit))

    @router.get("/sessions/{session_id}/timeline", summary="Angles, repetitions and issues over time (an extra)")
    async def timeline(request: Request, session_id: str, visit: Visit = anyone) -> Response:
        return answer(request, await service.timeline(visit, _known(session_id)))

    @router.post("/upload/generate-url", summary="Get signed upload URLs")
    async def generate_url(request: Request, body: GenerateUrl, visit: Visit = anyone) -> Response:
        session = body.session_id
        link, expires = await service.upload_link(visit, session, body.content_type)
        root = base(request)
        urls = {"video": root + link, "metadata": f"{root}/api/sessions/{session}/data"}
        signed = {"upload_url": urls["video"], "upload_urls": urls, "method": "PUT", "expires_at": iso(expires)}
        return answer(request, {"session_id": session, **signed})

    return router


def _patients(service: PhysioService, guards: Guards, base: Base) -> APIRouter:
    router = APIRouter(prefix="/api/patients", tags=["patients"])
    patient = guards.only(Role.PATIENT)

    @router.get("/profile", summary="A patient's own profile")
    async def profile(request: Request, visit: Visit = patient) -> Response:
        return answer(request, await service.profile(visit))

    @router.put("/profile", summary="Change it: what is given changes, the rest stays")
    async def update(request: Request, body: UpdateProfile, visit: Visit = patient) -> Response:
        return answer(request, await service.update_profile(visit, body))

    @router.get("/sessions", summary="A patient's own sessions")
    async def sessions(
        request: Request,
        page: PageNumber = 1,
        per_page: PageSize = 20,
        status: Status | None = None,
        visit: Visit = patient,
    ) -> Response:
        found, pagination = await service.sessions(visit, Filters(status=status), Page(page, per_page))
        return answer(request, _linked(request, found, base), pagination=pagination)

    return router


def _physio(service: PhysioService, guards: Guards, base: Base) -> APIRouter:
    router = APIRouter(prefix="/api/physio", tags=["physio"])
    staff = guards.only(Role.PHYSIOTHERAPIST, Role.ADMIN)
    physiotherapist = guards.only(Role.PHYSIOTHERAPIST)

    @router.get("/patients", summary="List assigned patients")
    async def patients(
        request: Request, page: PageNumber = 1, per_page: PageSize = 20, visit: Visit = staff
    ) -> Response:
        found, pagination = await service.patients(visit, Page(page, per_page))
        return answer(request, found, pagination=pagination)

    @router.get("/sessions", summary="Sessions needing review")
    async def sessions(
        request: Request, page: PageNumber = 1, per_page: PageSize = 20, visit: Visit = staff
    ) -> Response:
        waiting = Filters(status="review_pending")
        found, pagination = await service.sessions(visit, waiting, Page(page, per_page))
        return answer(request, _linked(request, found, base), pagination=pagination)

    @router.post("/reviews", status_code=201, summary="Submit session review")
    async def review(request: Request, body: SubmitReview, visit: Visit = physiotherapist) -> Response:
        return documented(request, await service.review(visit, body), 201)

    @router.get("/analytics", summary="Patient progress data")
    async def analytics(
        request: Request,
        patient_id: uuid.UUID | None = None,
        exercise_type: Annotated[str | None, Query(max_length=100)] = None,
        since: Annotated[Moment | None, Query(alias="from")] = None,
        until: Annotated[Moment | None, Query(alias="to")] = None,
        visit: Visit = staff,
    ) -> Response:
        patient = str(patient_id) if patient_id else None
        filters, period = Filters(patient=patient, exercise=exercise_type), Period(since, until)
        return answer(request, await service.analytics(visit, filters, period))

    return router


def _linked(request: Request, found: list[dict[str, Any]], base: Base) -> list[dict[str, Any]]:
    root = base(request)
    return [row | {"video_url": row["video_url"] and root + row["video_url"]} for row in found]


def _known(session_id: str) -> str:
    """A session's id in its stored form; what is not a UUID raises NotFound."""
    found = canonical(session_id)
    if found is None:
        raise NotFound("Session not found")
    return found


async def _body(request: Request) -> bytes:
    return await whole_body(request, MAX_BODY, TooLarge(f"A body of frames may have {MAX_BODY} bytes; send several."))
