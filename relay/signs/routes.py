"""The fingerspelling API as one application: its routers, health, calibrations, and error bodies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from core.contracts.errors import ContractError
from core.contracts.signs import MAX_ID, Calibrated, Calibration, HealthResponse, Problem
from core.fingerspelling.shapes import SHAPES, Variation, pose
from relay.entrance.access import Access
from relay.entrance.ports import allowed_methods
from relay.errors import InvalidSignSequence, RelayError, TooMany
from relay.process.metrics import Metrics
from relay.signs.calibration import Calibrations

TITLES = {
    "INVALID_SIGN_SEQUENCE": "Invalid sign sequence",
    "INVALID_LANGUAGE": "Invalid language",
    "INVALID_SESSION": "Invalid session",
    "LLM_TIMEOUT": "Language model timeout",
    "LLM_RATE_LIMIT": "Language model rate limit",
    "SERVICE_UNAVAILABLE": "Service unavailable",
    "STORE_UNAVAILABLE": "Service unavailable",
    "RELAY_FULL": "Service unavailable",
    "VIDEO_REFUSED": "Video refused",
    "NOT_FOUND": "Not found",
    "UNAUTHORIZED": "Unauthorized",
    "FORBIDDEN": "Forbidden",
    "PAYLOAD_TOO_LARGE": "Payload too large",
}
CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "PAYLOAD_TOO_LARGE"}
NAME = Annotated[str, Path(min_length=1, max_length=MAX_ID)]
_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 401, 403, 404, 405, 413, 429, 503, 504)
}

Health = Callable[[], HealthResponse]


def application(
    routers: list[APIRouter], calibrations: Calibrations, health: Health, access: Access, metrics: Metrics
) -> FastAPI:
    """The whole API; each of its documented ports serves all of it."""
    app = FastAPI(title="Fingerspelling", version="1.0.0", docs_url=None, redoc_url=None, responses=_RESPONSES)
    for router in [*routers, _health(health), _alphabet(), _calibrations(calibrations, access)]:
        app.include_router(router)
    for kind in (RelayError, ContractError, RequestValidationError, ValidationError, HTTPException):
        app.add_exception_handler(kind, _refusing(metrics))
    return app


def _health(health: Health) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["health"])

    @router.get(
        "/health", response_model=HealthResponse, response_model_exclude_none=True, summary="Health of the services"
    )
    async def answer() -> HealthResponse:
        """The health of the service. Needs no token, and tells nothing about anybody."""
        return health()

    return router


def _alphabet() -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["alphabet"])
    shapes = {sign: pose(shape, Variation.none())[0].round(3).tolist() for sign, shape in SHAPES.items()}

    @router.get("/alphabet", summary="Every sign as a hand")
    async def alphabet() -> dict[str, list[list[float]]]:
        """For each sign, 21 landmarks (x, y, z) in palm lengths around the wrist: a left hand as a camera sees it."""
        return shapes

    return router


def _calibrations(service: Calibrations, access: Access) -> APIRouter:
    router = APIRouter(prefix="/api/v1/calibration", tags=["calibration"])

    @router.put("/{name}", response_model=Calibrated, summary="Keep a hand")
    async def save(request: Request, name: NAME, given: Calibration) -> Calibrated:
        """Store a person's letters under a name and fit the reader to them; a `start` message with `calibration` then
        uses it.
        """
        who = access.principal(request)
        access.may_measure(who, None)
        return await service.save(access.reach(who), name, given)

    @router.delete("/{name}", status_code=204, summary="Forget a hand")
    async def forget(request: Request, name: NAME) -> Response:
        who = access.principal(request)
        access.may_measure(who, None)
        await service.forget(access.reach(who), name)
        return Response(status_code=204)

    return router


def _refusing(metrics: Metrics) -> Callable[[Request, Exception], Any]:
    async def refuse(request: Request, error: Exception) -> JSONResponse:
        status, code, text = _told(error)
        metrics.signs_refused.labels(code).inc()
        body = {"error": TITLES.get(code, code.replace("_", " ").capitalize()), "message": text}
        if not isinstance(error, InvalidSignSequence):  # the document shows this one body without a code
            body["code"] = code
        return JSONResponse(body, status, _headers(request, error, status))

    return refuse


def _told(error: Exception) -> tuple[int, str, str]:
    if isinstance(error, RelayError):
        return error.status, error.code, str(error)
    if isinstance(error, HTTPException):
        return error.status_code, CODES.get(error.status_code, "HTTP_ERROR"), str(error.detail)
    if isinstance(error, RequestValidationError | ValidationError):
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5]]
        return 400, "VALIDATION_ERROR", "; ".join(problems)
    return 400, "VALIDATION_ERROR", str(error)


def _headers(request: Request, error: Exception, status: int) -> dict[str, str]:
    if status == 401:
        return {"WWW-Authenticate": "Bearer"}
    if status == 405:
        return {"Allow": allowed_methods(request)}
    if isinstance(error, RelayError) and error.retryable:
        return {"Retry-After": str(error.retry_after_s if isinstance(error, TooMany) else 2)}
    return {}
