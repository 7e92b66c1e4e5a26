"""The pages and their files over HTTP. Knows files and headers, nothing of sessions.

All files are read when the router is made, so no other file can be requested; the parts that pages share are inserted
then, too. Nothing is loaded from other hosts, and the headers make browsers enforce that.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

ROOT = Path(__file__).resolve().parent
VENDORED = ("uPlot.esm.js", "uPlot.min.css", "uPlot.LICENSE")
REFERENCE = (
    *("swagger-ui-bundle.js", "swagger-ui.css", "swagger-ui.LICENSE"),
    *("redoc.standalone.js", "redoc.LICENSE"),
)
"""Files that /docs and /redoc need; the other pages do not use them."""
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}
PLAIN = {
    "timer.html": ["/timer/{session_id}"],
    "watch.html": ["/watch", "/watch/", "/watch/{kit}"],
    "signing.html": ["/signing", "/signing/", "/signing/{session_id}"],
    "signin.html": ["/app", "/app/"],
    "patients.html": ["/app/patients"],
    "me.html": ["/app/me"],
    "exercise.html": ["/app/session/{session_id}"],
    "progress.html": ["/app/progress/{patient_id}"],
    "fleet.html": ["/app/fleet"],
}
"""Pages that do not need the chart library."""
FILMING = "signing.html"
"""The only page that may ask for the browser's camera."""
POLICY = "; ".join(
    (
        "default-src 'self'",
        "connect-src 'self' ws: wss:",
        "img-src 'self' data:",
        "style-src 'self'",
        "script-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "accelerometer=(self), screen-wake-lock=(self), camera=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}
ENTRY = re.compile(r'<script type="module" src="/static/([^"]+)"')
IMPORTS = re.compile(r"^import .* from '(?:\./|/static/)([^']+)'", re.MULTILINE)
PART = re.compile(r"<!-- part (\w+) -->\n")
"""Where a page includes a file of `parts`, which holds what several pages have in common."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is served: its type, both encodings, and an ETag that changes with its bytes."""

    kind: str
    body: bytes
    packed: bytes
    tag: str
    films: bool = False

    @classmethod
    def of(cls, name: str, body: bytes) -> Asset:
        kind = TYPES[Path(name).suffix]
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        return cls(kind, body, gzip.compress(body, mtime=0), tag, films=name == FILMING)

    def answer(self, request: Request, status: int = 200) -> Response:
        """The file, compressed if the browser accepts that; 304 without a body if the browser already has these
        bytes.
        """
        headers = {**HEADERS, "ETag": self.tag}
        if self.films:
            headers["Permissions-Policy"] = HEADERS["Permissions-Policy"].replace("camera=()", "camera=(self)")
        if status == 200 and _names(request.headers.get("if-none-match", ""), self.tag):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self.packed, status, {**headers, "Content-Encoding": "gzip"}, self.kind)
        return Response(self.body, status, headers, self.kind)


def pages(root: Path = ROOT) -> APIRouter:
    """The start page, all other pages at their paths, and `/static/…`, from the files below `root`."""
    router = APIRouter(include_in_schema=False)
    static = {path.name: path for path in (root / "static").iterdir() if path.suffix in TYPES}
    vendored = {f"vendor/{name}": root / "vendor" / name for name in (*VENDORED, *REFERENCE)}
    missing = [name for name in VENDORED if not vendored[f"vendor/{name}"].is_file()]
    files = {name: Asset.of(name, path.read_bytes()) for name, path in {**static, **vendored}.items() if path.is_file()}

    @router.api_route("/static/{name:path}", methods=["GET", "HEAD"])
    async def file(request: Request, name: str) -> Response:
        found = files.get(name)
        return found.answer(request) if found else Response("No such file.", 404, HEADERS, "text/plain")

    _serve(router, ["/"], _page(root, "start.html"))
    for name, paths in PLAIN.items():
        _serve(router, paths, _page(root, name))
    drawn = {"view.html": ["/view/{session_id}"], "measure.html": ["/measure", "/measure/{session_id}"]}
    for name, paths in drawn.items():
        if missing:
            _serve(router, paths, _page(root, "unbuilt.html", html.escape(", ".join(missing))), status=503)
        else:
            _serve(router, paths, _page(root, name))
    return router


def _serve(router: APIRouter, paths: Iterable[str], page: Asset, status: int = 200) -> None:
    async def answer(request: Request) -> Response:
        return page.answer(request, status)

    for path in paths:
        router.add_api_route(path, answer, methods=["GET", "HEAD"])


def _page(root: Path, name: str, said: str = "") -> Asset:
    """A page with its parts inserted and `said` in it. It lists all its modules, so that a browser need not discover
    them one after the other.
    """
    text = PART.sub(
        lambda part: (root / "parts" / f"{part[1]}.html").read_text("utf-8"),
        (root / "pages" / name).read_text("utf-8"),
    ).replace("<!-- said -->", said)
    found: list[str] = []
    for entry in ENTRY.findall(text):
        _collect(root / "static", entry, found)
    links = "".join(f'<link rel="modulepreload" href="/static/{module}">\n' for module in found)
    return Asset.of(name, text.replace("</head>", f"{links}</head>").encode())


def _collect(folder: Path, module: str, found: list[str]) -> None:
    if module in found:
        return
    found.append(module)
    if not module.startswith("vendor/"):
        for imported in IMPORTS.findall((folder / module).read_text("utf-8")):
            _collect(folder, imported, found)


def _names(header: str, tag: str) -> bool:
    return any(part.strip().removeprefix("W/") in (tag, "*") for part in header.split(","))
