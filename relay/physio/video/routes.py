"""Upload and playback of videos over HTTP, by signed links."""

from __future__ import annotations

import uuid

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response

from relay.envelopes import answer
from relay.physio.video.service import Videos

HEADERS = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff", "Content-Disposition": "inline"}


def routes(videos: Videos) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["video"])

    @router.put("/upload/{upload}", summary="Put a session's video, once, by its signed link")
    async def put(
        request: Request, upload: uuid.UUID, expires: str = Query(""), signature: str = Query("")
    ) -> Response:
        kind = request.headers.get("content-type", "")
        session, size = await videos.upload(str(upload), expires, signature, kind, request.stream())
        return answer(request, {"session_id": session, "size_bytes": size})

    @router.api_route("/videos/{session}", methods=["GET", "HEAD"], summary="Play a session's video by its signed link")
    async def play(session: uuid.UUID, expires: str = Query(""), signature: str = Query("")) -> Response:
        path, kind = await videos.play(str(session), expires, signature)
        return FileResponse(path, media_type=kind, headers=HEADERS)

    return router
