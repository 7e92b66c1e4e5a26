"""Which application answers on which port. Each API is its own FastAPI application; a port is a list of them.

On its documented port an API stands at the root; everywhere it also stands under its own prefix. No handler guesses
from credentials which API was meant: the first application with a route for the path answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from fastapi import APIRouter
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from relay.entrance.access import GUARDED
from relay.openapi30 import as_3_0

METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


class Routed(Protocol):
    """An application that exposes its routes."""

    @property
    def router(self) -> APIRouter: ...
    @property
    def openapi_url(self) -> str | None: ...
    @property
    def openapi(self) -> Callable[[], dict[str, Any]]: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Port:
    """An ASGI application over several: `prefixed` by their prefix, `rooted` by the first whose route matches.

    `guarded` marks requests as coming from a listener that asks for tokens; the applications in `opened` ask for none
    all the same. A path without a route is refused by the application that `bases` names for its first segment, so that
    each API uses its own error bodies, else by `otherwise` or the first.
    """

    def __init__(
        self,
        rooted: Sequence[Routed],
        prefixed: Mapping[str, ASGIApp],
        *,
        guarded: bool,
        bases: Mapping[str, Routed] | None = None,
        opened: Sequence[ASGIApp] = (),
        otherwise: Routed | None = None,
    ) -> None:
        self._rooted = list(rooted)
        self._otherwise = otherwise or self._rooted[0]
        self._bases = dict(bases or {})
        self._prefixed = dict(prefixed)
        self.guarded = guarded
        self._opened = frozenset(map(id, opened))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefix = "/" + scope["path"].split("/", 2)[1]
        inner = self._prefixed.get(prefix)
        if inner is not None:
            scope = {**scope, "root_path": scope.get("root_path", "") + prefix}
            await self._marked(inner, scope)(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"] == "/openapi.json" and scope["method"] in ("GET", "HEAD"):
            await JSONResponse(self._description())(scope, receive, send)
            return
        await self._marked(self._answering(scope), scope)(scope, receive, send)

    def _marked(self, app: ASGIApp, scope: Scope) -> ASGIApp:
        scope[GUARDED] = self.guarded and id(app) not in self._opened
        return app

    def _description(self) -> dict[str, Any]:
        """One OpenAPI document of all that is at this port's root; under its prefix each API serves its own."""
        parts = [app.openapi() for app in self._rooted if app.openapi_url is not None]
        oldest = min((part["openapi"] for part in parts), default="3.1.0")
        if oldest.startswith("3.0"):
            parts = [as_3_0(part) for part in parts]
        whole: dict[str, Any] = {
            "openapi": min((part["openapi"] for part in parts), default=oldest),
            "info": {"title": " · ".join(part["info"]["title"] for part in parts) or "Homeside", "version": "1"},
            "paths": {path: methods for part in parts for path, methods in part["paths"].items()},
            "components": {},
        }
        for part in parts:
            for kind, named in part.get("components", {}).items():
                whole["components"].setdefault(kind, {}).update(named)
        return whole

    def _answering(self, scope: Scope) -> Routed:
        partial: Routed | None = None
        for app in self._rooted:
            match = _best_match(app.router.routes, scope)
            if match is Match.FULL:
                return app
            if match is Match.PARTIAL and partial is None:
                partial = app
        return partial or self._bases.get("/" + scope["path"].split("/", 2)[1], self._otherwise)


def _best_match(routes: Sequence[BaseRoute], scope: Scope) -> Match:
    found = Match.NONE
    for route in routes:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return match
        if match is Match.PARTIAL:
            found = match
    return found


def allowed_methods(request: Request) -> str:
    """A path's methods over all its routes, for the Allow header of a 405 (RFC 9110 section 15.5.6)."""
    routes = request.app.router.routes
    found = [method for method in METHODS if _best_match(routes, {**request.scope, "method": method}) is Match.FULL]
    return ", ".join(found)


def base_url(request: HTTPConnection, public_url: str) -> str:
    """The URL of the pages, without a trailing slash: as configured, else from the request."""
    if public_url:
        return public_url.rstrip("/")
    scheme = {"ws": "http", "wss": "https"}.get(request.url.scheme, request.url.scheme)
    return f"{scheme}://{request.url.netloc}"


def websocket_base(request: HTTPConnection, public_url: str) -> str:
    """The base URL of an API's sockets: `base_url` with ws or wss, and the prefix by which the request came."""
    base = base_url(request, public_url).replace("http", "ws", 1)
    prefix: Any = request.scope.get("root_path", "")
    if public_url and not prefix:
        return f"{base}/scg"
    return f"{base}{prefix}"
