"""Errors as two of the API documents define them: a status, and `{"detail": "…"}` with the relay's message."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException

from relay.entrance.ports import allowed_methods
from relay.errors import RelayError

RETRY_AFTER_S = 2


class Detail(BaseModel):
    """The document's error body."""

    detail: str


def detail(status: int, words: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": words}, status_code=status, headers=headers)


def with_details(app: FastAPI) -> None:
    """Have the application answer RelayError, and the framework's own errors, with this body."""
    app.add_exception_handler(RelayError, _on_relay_error)
    app.add_exception_handler(StarletteHTTPException, _on_http_error)


async def _on_relay_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RelayError)
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if error.retryable:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return detail(error.status, str(error), headers)


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    headers = {"Allow": allowed_methods(request)} if error.status_code == 405 else dict(error.headers or {})
    return detail(error.status_code, str(error.detail), headers)
