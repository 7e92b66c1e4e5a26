"""Batch translation over HTTP: a job from a URL (JSON) or an uploaded file (form), its status, and its cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.types import Message, Receive

from core.contracts.signs import LANGUAGES, BatchAccepted, BatchOptions, BatchRequest, BatchStatus
from relay.bodies import whole_body
from relay.entrance.access import Access
from relay.errors import DetectorMissing, InvalidLanguage, TooLarge, VideoRefused
from relay.signs.batch.service import ESTIMATE_MS, BatchService, Job
from relay.signs.detection.lookout import Lookout

MAX_BODY_BYTES = 65_536
FORM_OVERHEAD = 65_536
_COPY_BYTES = 1 << 20
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["video_url"],
                    "properties": {
                        "video_url": {"type": "string", "minLength": 1, "maxLength": 2000},
                        "language": {"enum": list(LANGUAGES), "default": "en"},
                        "options": BatchOptions.model_json_schema(),
                    },
                }
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "language": {"type": "string", "default": "en"},
                    },
                }
            },
        },
    }
}


def routes(service: BatchService, lookout: Lookout, access: Access, most_bytes: int) -> APIRouter:
    router = APIRouter(prefix="/api/v1/batch-translate", tags=["batch"])

    @router.post("", response_model=BatchAccepted, openapi_extra=_BODY, summary="Begin to read a video")
    async def begin(request: Request) -> BatchAccepted:
        """Start reading a video, fetched from `video_url` or sent as the form field `file`."""
        who = access.principal(request)
        access.may_measure(who, None)
        owner = access.reach(who)
        if lookout.problem is not None:
            raise DetectorMissing(f"Hands cannot be detected here: {lookout.problem}.")
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            job = await _upload(request, service, owner, most_bytes)
        else:
            wanted = BatchRequest.model_validate_json(await _body(request))
            job = service.fetch(wanted.video_url, _language(wanted.language), wanted.options, owner)
        return BatchAccepted(job_id=job.id, estimated_time_ms=ESTIMATE_MS)

    @router.get(
        "/{job_id}", response_model=BatchStatus, response_model_exclude_none=True, summary="How far a video is read"
    )
    async def status(request: Request, job_id: str) -> BatchStatus:
        """Progress of a job; `result` when it is completed, `error` and `code` when it failed."""
        return service.find(job_id, access.reach(access.principal(request))).status

    @router.delete(
        "/{job_id}", response_model=BatchStatus, response_model_exclude_none=True, summary="Stop reading a video"
    )
    async def cancel(request: Request, job_id: str) -> BatchStatus:
        """Cancel and forget a job; its video is deleted."""
        job = service.find(job_id, access.reach(access.principal(request)))
        service.cancel(job)
        return job.status

    return router


def _language(wanted: str) -> str:
    if wanted not in LANGUAGES:
        raise InvalidLanguage(f"Language {wanted!r} is not one of {', '.join(LANGUAGES)}.")
    return wanted


async def _body(request: Request) -> bytes:
    return await whole_body(request, MAX_BODY_BYTES, TooLarge(f"Expected a body of at most {MAX_BODY_BYTES} bytes."))


async def _upload(request: Request, service: BatchService, owner: str | None, most_bytes: int) -> Job:
    """Copy the form's file to where the job reads it; bytes are counted on arrival in case the length is not
    announced.
    """
    if int(request.headers.get("content-length", "0") or 0) > most_bytes + FORM_OVERHEAD:
        raise TooLarge(f"The video is larger than {most_bytes} bytes.")
    bounded = Request(request.scope, _at_most(request.receive, most_bytes))
    try:
        async with bounded.form(max_files=1, max_fields=8) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise VideoRefused("Expected a form with the video in its field `file`.")
            options = BatchOptions.model_validate(msgspec.json.decode(str(form.get("options") or "{}")))
            job = service.upload(_language(str(form.get("language") or "en")), options, owner)
            await _copy(file, job, most_bytes)
    except (MultiPartException, msgspec.DecodeError):
        raise VideoRefused("The form cannot be read.") from None
    service.ready(job)
    return job


def _at_most(receive: Receive, most_bytes: int) -> Receive:
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most_bytes + FORM_OVERHEAD:
            raise TooLarge(f"The video is larger than {most_bytes} bytes.")
        return message

    return counted


async def _copy(file: UploadFile, job: Job, most_bytes: int) -> None:
    size = 0
    with job.path.open("wb") as target:
        while part := await file.read(_COPY_BYTES):
            size += len(part)
            if size > most_bytes:
                break
            await asyncio.to_thread(target.write, part)
    if size > most_bytes or not size:
        job.path.unlink(missing_ok=True)
        raise TooLarge(f"The video is larger than {most_bytes} bytes.") if size else VideoRefused("The video is empty.")
