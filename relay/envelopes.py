"""The care API's envelope `{success, data|error, meta}`, a request id for every request, and rate limits.

Bodies defined by an API document are sent without it, unless the client asks for `Accept: application/json;
profile=envelope`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from core.contracts.physio import Invalid
from relay.errors import RelayError, TooMany, Unauthorized

JSON = "application/json"
CODES = {401: "UNAUTHORIZED", 403: "FORBIDDEN", 404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "PAYLOAD_TOO_LARGE"}
INVALID_TEXT = "Invalid input data provided"
log = structlog.get_logger(__name__)


def iso(moment: datetime) -> str:
    """A time in UTC, with a Z, as the document writes it."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def request_id(request: HTTPConnection) -> str:
    return str(request.scope.get("request_id", ""))


def _meta(request: HTTPConnection) -> dict[str, str]:
    return {"timestamp": iso(datetime.now(UTC)), "request_id": request_id(request)}


def answer(
    request: HTTPConnection, data: Any, status: int = 200, *, pagination: dict[str, int] | None = None
) -> Response:
    """A response with `data` in the envelope."""
    body: dict[str, Any] = {"success": True, "data": data, "meta": _meta(request)}
    if pagination is not None:
        body["pagination"] = pagination
    return Response(msgspec.json.encode(body), status, media_type=JSON)


def documented(request: HTTPConnection, data: Any, status: int = 200) -> Response:
    """A body the document defines: bare, or in the envelope for clients that ask for it."""
    if "profile=envelope" in request.headers.get("accept", "").replace('"', "").replace(" ", ""):
        return answer(request, data, status)
    return Response(msgspec.json.encode(data), status, media_type=JSON)


def refusal(
    request: HTTPConnection, status: int, code: str, text: str, details: list[dict[str, str]] | None = None
) -> Response:
    error: dict[str, Any] = {"code": code, "message": text}
    if details:
        error["details"] = details
    body = {"success": False, "error": error, "meta": _meta(request)}
    response = Response(msgspec.json.encode(body), status, media_type=JSON)
    if status == Unauthorized.status:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def speak_envelopes(app: FastAPI) -> None:
    """Have `app` answer every error with the document's error body."""
    app.add_exception_handler(RelayError, _on_relay_error)
    app.add_exception_handler(Invalid, _on_invalid)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(StarletteHTTPException, _on_http)
    app.add_exception_handler(Exception, _on_fault)


async def _on_relay_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RelayError)
    return _of_relay_error(request, error)


def _of_relay_error(request: HTTPConnection, error: RelayError) -> Response:
    response = refusal(request, error.status, error.code, str(error))
    if isinstance(error, TooMany):
        response.headers["Retry-After"] = str(error.retry_after_s)
    elif error.retryable:
        response.headers["Retry-After"] = "2"
    return response


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, Invalid)
    details = [{"field": field, "message": text} for field, text in error.problems]
    return refusal(request, 400, Invalid.code, INVALID_TEXT, details)


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    details = [{"field": _field(problem["loc"]), "message": str(problem["msg"])} for problem in error.errors()]
    return refusal(request, 400, Invalid.code, INVALID_TEXT, details)


def _field(where: tuple[Any, ...]) -> str:
    """A field's path without its first element, as in `form_feedback[0].issue`; the body itself is `body`."""
    path = ""
    for part in where[1:] or where[:1]:
        path += f"[{part}]" if isinstance(part, int) and path else f".{part}" if path else str(part)
    return path


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    response = refusal(request, error.status_code, CODES.get(error.status_code, "ERROR"), str(error.detail))
    response.headers.update(error.headers or {})
    return response


async def _on_fault(request: Request, error: Exception) -> Response:
    """Answer an internal error. Starlette raises it again afterwards, so that it is logged with its traceback."""
    return refusal(request, 500, "INTERNAL", f"The relay failed; the operator finds {request_id(request)} in its log.")


class Limiter:
    """Rate limit: so many requests per window and key."""

    def __init__(self, requests: int, window_s: int) -> None:
        self._item = RateLimitItemPerSecond(requests, window_s)
        self._counts = FixedWindowRateLimiter(MemoryStorage())

    def take(self, key: str) -> None:
        """Count a request. Raises TooMany, with the time to wait, if it is one too many."""
        if not self._counts.hit(self._item, key):
            raise self._refusal(key)

    def check(self, key: str) -> None:
        """Raises TooMany as `take` would, without counting."""
        if not self._counts.test(self._item, key):
            raise self._refusal(key)

    def _refusal(self, key: str) -> TooMany:
        until = self._counts.get_window_stats(self._item, key).reset_time
        wait = max(1, int(until - datetime.now(UTC).timestamp()) + 1)
        return TooMany(f"Too many requests. Try again in {wait} s.", wait)


class Reception:
    """Middleware before all routes: gives each request its id and counts it towards its sender's rate limit.

    `sender` identifies the caller (a user if the token is valid, else an address). `streams` recognises requests that
    are part of a stream (frames, video), which have the larger limit.
    """

    def __init__(
        self,
        app: FastAPI,
        *,
        sender: Callable[[HTTPConnection], str],
        streams: Callable[[str], bool],
        limiter: Limiter,
        streaming: Limiter,
    ) -> None:
        self._app = app
        self.router = app.router
        self.openapi_url = app.openapi_url
        self.openapi = app.openapi
        self._sender = sender
        self._streams = streams
        self._limiter = limiter
        self._streaming = streaming

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["request_id"] = identity = str(uuid.uuid4())
        connection = HTTPConnection(scope)

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", identity.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=identity):
            try:
                (self._streaming if self._streams(scope["path"]) else self._limiter).take(self._sender(connection))
            except TooMany as error:
                log.warning("rate_limited", path=scope["path"])
                await _of_relay_error(connection, error)(scope, receive, named)
                return
            await self._app(scope, receive, named)
