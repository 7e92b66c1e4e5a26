"""A WHIP client (RFC 9725): post an offer, read the answer, delete the resource at the end. Outbound requests only."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from typing import NamedTuple
from urllib.parse import urljoin

from agent.errors import VideoError

WITHIN_S = 10.0
MOST_ANSWER = 262_144


class Answer(NamedTuple):
    """The relay's SDP answer, and the URL at which the session is deleted."""

    sdp: str
    resource: str


def publish(url: str, sdp: str, token: str | None, context: ssl.SSLContext | None) -> Answer:
    """Post an offer; blocks for at most WITHIN_S.

    Raises VideoError with the reason when the relay does not accept it.
    """
    body, location = _ask(url, "POST", sdp.encode(), token, context)
    if not location:
        raise VideoError(f"{url} answered without a Location; it is no WHIP endpoint", url=url)
    return Answer(body.decode("utf-8", "replace"), urljoin(url, location))


def delete(resource: str, token: str | None, context: ssl.SSLContext | None) -> None:
    _ask(resource, "DELETE", None, token, context)


def _ask(
    url: str, method: str, body: bytes | None, token: str | None, context: ssl.SSLContext | None
) -> tuple[bytes, str]:
    request = urllib.request.Request(url, body, method=method)  # noqa: S310  the scheme is checked by the settings
    request.add_header("Content-Type", "application/sdp")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=WITHIN_S, context=context) as answer:  # noqa: S310  as above
            return answer.read(MOST_ANSWER), answer.headers.get("Location", "")
    except urllib.error.HTTPError as error:
        text = error.read(500).decode("utf-8", "replace")
        raise VideoError(f"the relay refuses the camera ({error.code}): {text}", url=url, status=error.code) from None
    except (OSError, http.client.HTTPException) as error:
        raise VideoError(f"the relay's video cannot be reached at {url}: {error}", url=url) from None
