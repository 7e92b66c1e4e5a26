"""Upload and playback of videos over HTTP, by signed links.

An upload is one PUT. If the connection breaks it can be resumed: HEAD tells how many bytes have arrived, PATCH sends
the rest, with Upload-Offset, Upload-Complete and Upload-Limit as in IETF draft-ietf-httpbis-resumable-upload.
"""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from core.contracts.physio import Invalid
from relay.envelopes import answer
from relay.physio.video.ranges import Unsatisfiable, wanted
from relay.physio.video.service import Clip, Sent, Uploaded, Videos

HEADERS = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff", "Content-Disposition": "inline"}
YES, NO = "?1", "?0"
"""Booleans of structured fields (RFC 9651 section 3.3.6)."""
Expires = Annotated[str, Query(max_length=20)]
User = Annotated[str, Query(max_length=36, description="whose link it is")]
Signature = Annotated[str, Query(max_length=100)]
Complete = Annotated[str, Header(alias="Upload-Complete", description="?1, or ?0 when more will follow")]
Offset = Annotated[str, Header(alias="Upload-Offset", description="bytes the relay has of it")]


def routes(videos: Videos) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["video"])

    @router.put("/upload/{upload}", summary="Put a session's video, once, by its signed link")
    async def put(
        request: Request, upload: uuid.UUID, expires: Expires = "", signature: Signature = "", complete: Complete = YES
    ) -> Response:
        link = (str(upload), expires, signature)
        kind = request.headers.get("content-type", "")
        return _progress(request, await videos.upload(link, kind, _sent(request), 0, whole=_yes(complete)))

    @router.patch("/upload/{upload}", summary="Go on with an upload at its offset (an extra)")
    async def patch(
        request: Request,
        upload: uuid.UUID,
        expires: Expires = "",
        signature: Signature = "",
        offset: Offset = "",
        complete: Complete = YES,
    ) -> Response:
        link, at = (str(upload), expires, signature), _number(offset)
        return _progress(request, await videos.upload(link, "", _sent(request), at, whole=_yes(complete)))

    @router.head("/upload/{upload}", summary="How much of an upload has arrived (an extra)")
    async def offset(upload: uuid.UUID, expires: Expires = "", signature: Signature = "") -> Response:
        size, limit, complete = await videos.arrived((str(upload), expires, signature))
        headers = {"Upload-Complete": YES if complete else NO, "Upload-Limit": f"max-size={limit}"}
        return Response(status_code=204, headers=headers | {"Upload-Offset": str(size), "Cache-Control": "no-store"})

    @router.head("/videos/{session}", summary="What a playback link would give")
    @router.get("/videos/{session}", summary="Play a session's video by its signed link")
    async def play(
        request: Request, session: uuid.UUID, user: User = "", expires: Expires = "", signature: Signature = ""
    ) -> Response:
        agent = request.headers.get("user-agent", "")[:500]
        seen_by = {"ip_address": request.client.host if request.client else None, "user_agent": agent}
        return _part(request, await videos.play(str(session), user, expires, signature, seen_by))

    return router


def _progress(request: Request, uploaded: Uploaded) -> Response:
    if uploaded.complete:
        return answer(request, {"session_id": uploaded.session, "size_bytes": uploaded.size})
    return Response(status_code=204, headers={"Upload-Complete": NO, "Upload-Offset": str(uploaded.size)})


def _part(request: Request, clip: Clip) -> Response:
    """The requested bytes. If `If-Range` names another video's tag, the whole of this one (RFC 9110 section 13.1.5)."""
    tag = f'"{clip.key}"'
    headers = HEADERS | {"Accept-Ranges": "bytes", "ETag": tag}
    asked = request.headers.get("range", "") if request.headers.get("if-range", tag) == tag else ""
    try:
        part = wanted(asked, clip.size)
    except Unsatisfiable:
        return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{clip.size}"})
    start, stop = part or (0, clip.size)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{clip.size}"
    headers["Content-Length"] = str(stop - start)
    status = 200 if part is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=clip.kind)
    return StreamingResponse(clip.read(start, stop), status, headers, clip.kind)


def _sent(request: Request) -> Sent:
    """The request body with its announced length: None when it is chunked. The server enforces a given Content-
    Length.
    """
    said = request.headers.get("content-length", "")
    return Sent(request.stream(), int(said) if said.isdigit() else None)


def _yes(said: str) -> bool:
    if said.strip() not in (YES, NO):
        raise Invalid([("Upload-Complete", "Expected ?1, or ?0 when more will follow")])
    return said.strip() == YES


def _number(said: str) -> int:
    if not (said.isascii() and said.isdigit() and len(said) < 16):
        raise Invalid([("Upload-Offset", "Expected how many bytes the relay has, which HEAD tells")])
    return int(said)
