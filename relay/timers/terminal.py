"""Timers in a terminal: a client of the documented API that prints one line per session or event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from relay.errors import Full, SessionNotFound, Unauthorized

WITHIN_S = 10.0
_REFUSALS: dict[int, type[Unauthorized | SessionNotFound]] = {
    401: Unauthorized,
    403: Unauthorized,
    404: SessionNotFound,
}


def clock(time_ms: int) -> str:
    """As 1:02:09, or 9:59; fractions of a second are cut off."""
    seconds = time_ms // 1000
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"


def listing(url: str, bearer: str) -> Iterator[str]:
    """The sessions changed last, newest first."""
    sessions = _ask(url, "/v1/sessions", bearer)["sessions"]
    if not sessions:
        yield "No timer sessions."
    for one in sessions:
        yield f"{one['session_id']:<40} {one['status']:<10} {one['sync_mode']:<16} {_seats(one)}"


def watch(url: str, session: str, bearer: str) -> Iterator[str]:
    """The session's state, then everything that happens in it, until it is deleted or the connection ends."""
    yield _line("now", _ask(url, f"/v1/sessions/{quote(session, safe='')}", bearer))
    parts = urlsplit(url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    where = f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/sessions/{quote(session, safe='')}?token={bearer}"
    try:
        with connect(where, open_timeout=WITHIN_S) as socket:
            for text in socket:
                message = json.loads(text)
                yield _line(message["type"], message.get("payload", {}))
    except (OSError, ConnectionClosed, InvalidHandshake) as error:
        raise Full(f"The connection to {url} was lost: {error}") from None


def _line(kind: str, payload: dict[str, Any]) -> str:
    if "participants" in payload:
        return f"{kind}  {payload['status']}  version {payload['version']}  {_seats(payload)}"
    told = {key: value for key, value in payload.items() if key not in ("session_id", "server_time_ms")}
    return f"{kind}  {json.dumps(told)}"


def _seats(state: dict[str, Any]) -> str:
    seats = [
        f"{'*' if one['is_active'] else ''}{one['participant_id']} {clock(one['total_time_ms'])}"
        for one in state["participants"][:8]
    ]
    wide = [clock(state["total_time_ms"])] if "total_time_ms" in state else []
    return "  ".join(wide + seats)


def _ask(url: str, path: str, bearer: str) -> dict[str, Any]:
    if urlsplit(url).scheme not in ("http", "https"):
        raise Full(f"{url} is no relay's address; expected http://host:port.")
    request = Request(url.rstrip("/") + path, headers={"Authorization": f"Bearer {bearer}"})  # noqa: S310 - checked
    try:
        with urlopen(request, timeout=WITHIN_S) as answer:  # noqa: S310 - checked above
            found: dict[str, Any] = json.load(answer)
            return found
    except HTTPError as error:
        said = json.loads(error.read() or b"{}").get("error", {}).get("message", error.reason)
        raise _REFUSALS.get(error.code, Full)(f"The relay answered: {said}") from None
    except URLError as error:
        raise Full(f"No relay answers at {url}: {error.reason}") from None
