"""Whether the relay is alive (/healthz), whether it can do its work (/readyz), and its metrics (/metrics)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from relay.process.metrics import Metrics

Check = Callable[[], Awaitable[bool]]


def health(checks: dict[str, Check], metrics: Metrics, version: str) -> APIRouter:
    """`checks` are the parts that the relay depends on; it is ready only when all of them are."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "version": version}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        parts = {name: await check() for name, check in checks.items()}
        ready = all(parts.values())
        return JSONResponse({"ready": ready, "parts": parts}, status_code=200 if ready else 503)

    @router.get("/metrics")
    async def exposition() -> Response:
        metrics.tasks.set(len(asyncio.all_tasks()))
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return router
