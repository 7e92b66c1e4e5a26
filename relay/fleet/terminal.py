"""The fleet's API for a terminal: sends requests, returns answers, and turns errors into messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from relay.errors import Forbidden, Full, NotAllowed, NotFound, RelayError, Unauthorized

WITHIN_S = 30.0
UPLOAD_WITHIN_S = 3600.0
_REFUSALS: dict[int, type[RelayError]] = {400: NotAllowed, 401: Unauthorized, 403: Forbidden, 404: NotFound}


class Client:
    """A client of the relay at `url`, with an admin's token."""

    def __init__(self, url: str, bearer: str) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise NotAllowed(f"{url} is no relay's address; expected http://host:port.")
        self._base, self._bearer = url.rstrip("/") + "/fleet/api/v1", bearer

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """The response's JSON. Raises RelayError with the relay's own message."""
        data = None if body is None else json.dumps(body).encode()
        return self._send(path, method, data, "application/json", WITHIN_S)

    def upload(self, path: str, file: Path) -> Any:
        with file.open("rb") as stream:
            return self._send(path, "PUT", stream, "application/x-tar", UPLOAD_WITHIN_S, file.stat().st_size)

    def _send(self, path: str, method: str, data: Any, kind: str, within_s: float, length: int | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self._bearer}", "Content-Type": kind}
        if length is not None:
            headers["Content-Length"] = str(length)
        request = Request(self._base + path, data, headers, method=method)  # noqa: S310 - checked at the beginning
        try:
            with urlopen(request, timeout=within_s) as answer:  # noqa: S310 - checked at the beginning
                return json.loads(answer.read() or b"null")
        except HTTPError as error:
            raise _refusal(error) from None
        except (URLError, TimeoutError, ConnectionError) as error:
            raise Full(f"No relay answers at {self._base}: {getattr(error, 'reason', error)}") from None


def _refusal(error: HTTPError) -> RelayError:
    try:
        said = json.loads(error.read())["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = error.reason
    return _REFUSALS.get(error.code, Full)(str(said))


def at(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)
