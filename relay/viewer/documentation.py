"""/docs and /redoc: Swagger UI and ReDoc for the openapi.json beside them, using only files of the wheel.

Both insert styles while drawing, and ReDoc searches in a worker, so the content policy of these two pages allows that.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import HTMLResponse, Response

from relay.viewer.routes import HEADERS, POLICY, REFERENCE, ROOT

_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'") + "; worker-src blob:; child-src blob:"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} \u00b7 Homeside</title>
<link rel="icon" href="/static/icon.svg">
{head}</head>
<body>{body}</body></html>
"""
_SWAGGER = _PAGE.format(
    title="API",
    head=(
        '<link rel="stylesheet" href="/static/vendor/swagger-ui.css">'
        '<script src="/static/vendor/swagger-ui-bundle.js" defer></script>'
        '<script src="/static/apidocs.js" defer></script>'
    ),
    body='<div id="swagger-ui"></div>',
)
_REDOC = _PAGE.format(
    title="API reference",
    head=(
        '<script src="/static/vendor/redoc.standalone.js" defer></script>'
        '<script src="/static/apidocs.js" defer></script>'
    ),
    body='<div id="redoc"></div>',
)
_MISSING = _PAGE.format(
    title="Not built",
    head='<link rel="stylesheet" href="/static/tokens.css"><link rel="stylesheet" href="/static/shell.css">',
    body=(
        '<main><h1>The reference cannot be drawn</h1><section class="card"><p>Swagger UI and ReDoc are not where the '
        "relay looks for them. Whoever runs this relay: <b>make install</b> in the source folder, or install the "
        '<b>homeside</b> wheel. The plain document is at <a href="openapi.json">openapi.json</a>.</p></section></main>'
    ),
)


def reference(root: Path = ROOT) -> APIRouter:
    """`/docs` and `/redoc` for the `openapi.json` served beside them."""
    router = APIRouter(include_in_schema=False)
    there = all((root / "vendor" / name).is_file() for name in REFERENCE)
    for path, page in (("/docs", _SWAGGER), ("/redoc", _REDOC)):
        _serve(router, path, page if there else _MISSING, 200 if there else 503)
    return router


def reference_application() -> FastAPI:
    """The two pages as an application, for a port whose APIs have none of their own."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(reference())
    return app


def _serve(router: APIRouter, path: str, page: str, status: int) -> None:
    async def answer(request: Request) -> Response:
        return HTMLResponse(page, status, {**HEADERS, "Content-Security-Policy": _POLICY})

    router.add_api_route(path, answer, methods=["GET", "HEAD"])
