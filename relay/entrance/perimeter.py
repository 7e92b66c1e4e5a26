"""What every request meets before any API: checks of host name, origin and rate; and security headers on answers.

A listener that asks for tokens limits requests per address. An open one trusts this machine alone; so that no foreign
page reaches it through somebody's browser (DNS rebinding), the Host header must be a name of this machine.
"""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relay.process.metrics import Metrics
from relay.settings import is_loopback

MOST_ADDRESSES = 20_000
"""Most addresses remembered; the one silent for longest is forgotten first."""
API_POLICY = b"default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = b"object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
ALWAYS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"cross-origin-resource-policy": b"same-site",
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Perimeter:
    """The rules of one listener: its own `names`, and the `origins` of other pages that may open sockets."""

    guarded: bool
    names: frozenset[str]
    origins: frozenset[str] = frozenset()
    per_s: float = 100.0
    burst: float = 1_000.0
    hsts_s: int = 0


def own_names(more: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower().rstrip(".") for name in more if name)


class Guard:
    """The ASGI application that wraps a port's."""

    def __init__(
        self,
        app: ASGIApp,
        holds: Perimeter,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._metrics = metrics or Metrics()
        self._holds = holds
        self._buckets = Buckets(holds.per_s, holds.burst, clock)
        self._always = dict(ALWAYS)
        if holds.hsts_s:
            self._always[b"strict-transport-security"] = f"max-age={holds.hsts_s}; includeSubDomains".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refused = self._refusal(scope)
        if refused is not None:
            self._metrics.requests_refused.labels(str(refused[0])).inc()
            await self._refuse(scope, receive, send, *refused)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            with contextlib.suppress(ClientDisconnect):  # a client that leaves early is no fault of ours
                await self._app(scope, receive, self._dressing(send))

    def _refusal(self, scope: Scope) -> tuple[int, str, dict[str, str]] | None:
        headers = Headers(scope=scope)
        host = _host(f"//{headers.get('host', '')}")
        if not self._holds.guarded and not self._mine(host):
            return 421, "This relay has another name. Open it by its address, or set public_url or tls.names.", {}
        if scope["type"] == "websocket" and not self._may_open(headers.get("origin"), host):
            return 403, "A page from another place may not open this socket. Add it to limits.origins.", {}
        address = (scope.get("client") or ("",))[0]
        if self._holds.guarded and not is_loopback(address) and (wait := self._buckets.take(address)):
            log.warning("address_limited", address=address)
            return 429, "Too many requests from this address. Try again later.", {"Retry-After": str(wait)}
        return None

    def _mine(self, host: str) -> bool:
        """Whether the host is ours.

        Any IP address is: a name server can point a name at another machine, never an address.
        """
        if not host or host == "localhost" or host.endswith(".localhost") or host in self._holds.names:
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True

    def _may_open(self, origin: str | None, host: str) -> bool:
        """Whether a socket may be opened: without an Origin (no browser), from an allowed one, or from the same host.

        The port does not matter. On this machine, pages of all its names may.
        """
        if origin is None or origin in self._holds.origins or "*" in self._holds.origins:
            return True
        theirs = _host(origin)
        return theirs != "" and (theirs == host or (is_loopback(theirs) and is_loopback(host)))

    def _dressing(self, send: Send) -> Send:
        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self._dressed(list(message.get("headers", ())))
            await send(message)

        return dressed

    def _dressed(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        given = {name.lower(): value for name, value in headers}
        wanted = dict(self._always)
        page = given.get(b"content-type", b"").startswith(b"text/html")
        wanted[b"content-security-policy"] = PAGE_POLICY if page else API_POLICY
        if given.get(b"content-type", b"").startswith(b"application/json"):
            wanted[b"cache-control"] = b"no-store"
        return headers + [(name, value) for name, value in wanted.items() if name not in given]

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, status: int, text: str, headers: dict[str, str]
    ) -> None:
        if scope["type"] == "http":
            await JSONResponse({"detail": text}, status, headers)(scope, receive, self._dressing(send))
            return
        log.warning("socket_refused", path=scope["path"], status=status)
        await send({"type": "websocket.close", "code": 1008, "reason": text})


class Buckets:
    """A token bucket per address, refilled at `per_s`.

    `take` returns 0, or the whole seconds until it may be repeated.
    """

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float]) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> int:
        now = self._clock()
        left, since = self._left.pop(address, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_s)
        if len(self._left) >= MOST_ADDRESSES:
            self._left.popitem(last=False)
        enough = left >= 1
        self._left[address] = (left - 1 if enough else left, now)
        return 0 if enough else max(1, round((1 - left) / self._per_s))


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""
