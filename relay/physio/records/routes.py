"""A patient's data as one file, and their erasure, over HTTP. Extras: the physiotherapy document has neither."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from relay.accounts.routes import Guards
from relay.accounts.service import Visit
from relay.auth import Role
from relay.envelopes import answer
from relay.errors import NotFound
from relay.physio.records.service import Records

PIECE_BYTES = 256 * 1024
ZIP: dict[int | str, dict[str, Any]] = {
    200: {"description": "All that is kept of the patient", "content": {"application/zip": {}}}
}


def routes(records: Records, guards: Guards) -> APIRouter:
    router = APIRouter(prefix="/api/patients", tags=["records"])
    patient, admin = guards.only(Role.PATIENT), guards.only(Role.ADMIN)

    @router.get("/export", summary="All that is kept of me, as a ZIP file (an extra)", responses=ZIP)
    async def own(visit: Visit = patient) -> Response:
        if visit.account.patient_id is None:
            raise NotFound("Patient not found")
        return await _file(records, visit, visit.account.patient_id)

    @router.get(
        "/{patient_id}/export", summary="All that is kept of a patient, as a ZIP file (an extra)", responses=ZIP
    )
    async def export(patient_id: uuid.UUID, visit: Visit = admin) -> Response:
        return await _file(records, visit, str(patient_id))

    @router.delete("/{patient_id}", summary="Erase a patient, the account and all that was recorded (an extra)")
    async def erase(
        request: Request,
        patient_id: uuid.UUID,
        confirm: Annotated[str, Query(max_length=255, description="the patient's e-mail address")] = "",
        visit: Visit = admin,
    ) -> Response:
        erased = await records.erase(visit, str(patient_id), confirm)
        return answer(request, {"patient_id": str(patient_id), "sessions": erased.sessions, "videos": erased.videos})

    return router


async def _file(records: Records, visit: Visit, patient: str) -> Response:
    file = await records.export(visit, patient)
    headers = {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Length": str(os.fstat(file.fileno()).st_size),
        "Content-Disposition": f'attachment; filename="homeside-{patient}.zip"',
    }
    return StreamingResponse(_pieces(file), headers=headers, media_type="application/zip")


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece
