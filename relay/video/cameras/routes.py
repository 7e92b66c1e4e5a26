"""Cameras that send now, snapshots of them, and recordings, over HTTP; an extra beside the video document."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from relay.auth import Principal
from relay.details import Detail
from relay.entrance.access import STAFF, Access
from relay.video.cameras.places import Camera, Wish
from relay.video.permissions import may_watch, must_be_staff, watches
from relay.video.recorder import About, snapshot
from relay.video.service import VideoService

Kit = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="A kit's name.")]


REFUSED: dict[int | str, dict[str, Any]] = {code: {"model": Detail} for code in (400, 401, 403, 404, 409)}


class CameraLine(BaseModel):
    """A kit that sends video, or whose viewers wait for it."""

    kit: str
    session: str | None
    live: bool
    codec: str
    level: str
    viewers: int
    since_ms: int
    recorded: bool
    recorded_by: str | None = Field(description="Who began the recording that runs, in their words")
    may_record: bool = Field(description="Whether the asker may begin and end recordings")


class Wanted(BaseModel):
    by: str = Field(min_length=1, max_length=200, description="Who wants the recording, and why; kept beside it.")


class Cameras(BaseModel):
    cameras: list[CameraLine]


def cameras(service: VideoService, access: Access) -> APIRouter:
    router = APIRouter(prefix="/api/cameras", tags=["cameras"], responses=REFUSED)

    @router.get("", response_model=Cameras, summary="List Cameras")
    async def cameras(request: Request) -> dict[str, Any]:
        """Every camera the caller may watch."""
        who = access.principal(request)
        seen = [one for one in service.cameras.shown() if watches(who, one.publication)]
        recorded = service.recordings.running
        here = [{**_line(one), **_recording(recorded(one.kit), who)} for one in seen]
        others = service.elsewhere.sent() if service.elsewhere is not None else ()
        known = {one["kit"] for one in here}
        there = [one for one in others if one.kit not in known and watches(who, one)]
        return {"cameras": here + [{**one.line(), **_recording(recorded(one.kit), who)} for one in there]}

    @router.get("/{kit}/snapshot.jpg", summary="The picture now", response_class=Response)
    async def picture(request: Request, kit: Kit) -> Response:
        publication = await service.source(Wish(kit=kit))
        may_watch(access.principal(request), publication)
        return Response(await snapshot(publication), media_type="image/jpeg", headers={"Cache-Control": "no-store"})

    return router


def recordings(service: VideoService, access: Access) -> APIRouter:
    """Routes for recordings. Only staff may start, stop and see them, and must name who wanted a recording."""
    router = APIRouter(prefix="/api", tags=["recordings"], responses=REFUSED)

    @router.post("/cameras/{kit}/recording", status_code=201, summary="Begin a recording")
    async def begin(request: Request, kit: Kit, wanted: Wanted) -> dict[str, Any]:
        must_be_staff(access.principal(request))
        return asdict(service.recordings.begin(await service.source(Wish(kit=kit)), wanted.by))

    @router.delete("/cameras/{kit}/recording", summary="End a recording")
    async def end(request: Request, kit: Kit) -> dict[str, Any]:
        must_be_staff(access.principal(request))
        return asdict(await service.recordings.end(kit))

    @router.get("/recordings", summary="List recordings")
    async def listed(request: Request) -> dict[str, Any]:
        must_be_staff(access.principal(request))
        return {"recordings": await asyncio.to_thread(service.recordings.listed)}

    @router.get("/recordings/{recording}", summary="A recording's file", response_class=FileResponse)
    async def file(request: Request, recording: str) -> FileResponse:
        must_be_staff(access.principal(request))
        return FileResponse(service.recordings.file(recording))

    return router


def _line(camera: Camera) -> dict[str, Any]:
    publication = camera.publication
    return {
        "kit": camera.kit,
        "session": publication.session,
        "live": camera.publisher is not None,
        "codec": publication.codec,
        "level": publication.level,
        "viewers": len(publication.legs),
        "since_ms": camera.since_ms,
    }


def _recording(about: About | None, who: Principal) -> dict[str, Any]:
    return {
        "recorded": about is not None,
        "recorded_by": about.by if about is not None else None,
        "may_record": who.role in STAFF,
    }
