"""The fleet over HTTP, for operators: an admin's sign-in or token. Only bundles are served to kits as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import HTTPConnection
from starlette.responses import FileResponse, Response

from core.contracts.numbers import Whole
from relay.auth import Principal, Role
from relay.entrance.access import Access
from relay.envelopes import speak_envelopes
from relay.errors import Forbidden
from relay.fleet.rules import Standing
from relay.fleet.service import FleetService

Operator = Callable[[HTTPConnection], Awaitable[str]]
API = "/api/v1"
Limit = Annotated[int, Query(ge=1, le=20_000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Expected(_Body):
    kits: list[str] = Field(max_length=20_000)
    tags: list[str] = []


class Tags(_Body):
    add: list[str] = []
    remove: list[str] = []


class Configuration(_Body):
    settings: dict[str, Any]
    expected_version: Whole | None = None


class NewRollout(_Body):
    version: str = Field(max_length=40)
    tag: str = Field("", max_length=64)
    percent: float = Field(100.0, gt=0, le=100)
    most_failed: float = Field(5.0, ge=0, le=100)


def application(service: FleetService, operator: Operator, access: Access) -> FastAPI:
    """The fleet's routes. `operator` names the admin who asks, or raises Unauthorized or Forbidden."""
    app = FastAPI(title="Homeside fleet", version="1.0", docs_url=None, redoc_url=None)
    speak_envelopes(app)
    _kits(app, service, operator)
    _deeds(app, service, operator)
    _rollouts(app, service, operator)
    _bundles(app, service, operator, access)
    return app


def _kits(app: FastAPI, service: FleetService, operator: Operator) -> None:
    @app.get(f"{API}/kits", summary="Kits, those that need somebody first")
    async def listing(
        request: Request,
        q: Annotated[str, Query(max_length=200)] = "",
        standing: Standing | None = None,
        tag: Annotated[str, Query(max_length=64)] = "",
        limit: Limit = 100,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        await operator(request)
        return _json(service.view.listing(query=q, standing=standing, tag=tag, limit=limit, offset=offset))

    @app.post(f"{API}/kits", status_code=201, summary="Expect kits that were never heard of")
    async def add(request: Request, body: Expected) -> Response:
        return _json({"added": await service.add(await operator(request), body.kits, body.tags)}, 201)

    @app.get(f"{API}/kits/{{kit}}", summary="One kit: how it is, its settings, who asked what of it")
    async def details(request: Request, kit: str) -> Response:
        await operator(request)
        return _json(await service.details(kit))

    @app.delete(f"{API}/kits/{{kit}}", summary="Forget a kit that is gone for good")
    async def forget(request: Request, kit: str) -> Response:
        await service.forget(await operator(request), kit)
        return Response(status_code=204)

    @app.get(f"{API}/packages/{{package}}", summary="Every kit that runs a package")
    async def running(request: Request, package: str) -> Response:
        await operator(request)
        return _json(service.view.running(package))


def _deeds(app: FastAPI, service: FleetService, operator: Operator) -> None:
    @app.post(f"{API}/kits/{{kit}}/tags", summary="Add and remove tags")
    async def tag(request: Request, kit: str, body: Tags) -> Response:
        return _json({"tags": await service.tag(await operator(request), kit, body.add, body.remove)})

    @app.put(f"{API}/kits/{{kit}}/configuration", summary="What a kit's settings are to be, all of them")
    async def configure(request: Request, kit: str, body: Configuration) -> Response:
        """Set a kit's settings. The kit checks and tries them, and returns to the last working ones by itself; its
        status tells.
        """
        who = await operator(request)
        return _json(await service.configure(who, kit, body.settings, body.expected_version))

    @app.post(f"{API}/kits/{{kit}}/diagnostics", status_code=202, summary="Ask a kit for a report of itself")
    async def diagnose(request: Request, kit: str) -> Response:
        return _json({"request": await service.diagnose(await operator(request), kit)}, 202)

    @app.get(f"{API}/kits/{{kit}}/diagnostics", summary="The last report of a kit; by `request`, only that one")
    async def diagnostics(
        request: Request, kit: str, wanted: Annotated[str | None, Query(alias="request")] = None
    ) -> Response:
        await operator(request)
        return _json(await service.diagnostics(kit, wanted))


def _rollouts(app: FastAPI, service: FleetService, operator: Operator) -> None:
    releases = service.releases

    @app.get(f"{API}/releases", summary="Releases this relay hands out")
    async def listing(request: Request) -> Response:
        await operator(request)
        return _json({"releases": releases.releases()})

    @app.get(f"{API}/rollouts", summary="Rollouts, each with how far it is")
    async def rollouts(request: Request) -> Response:
        await operator(request)
        return _json({"rollouts": releases.rollouts()})

    @app.get(f"{API}/rollouts/foreseen", summary="Whom a rollout would concern, and how it stands with them already")
    async def foreseen(
        request: Request,
        version: Annotated[str, Query(max_length=40)],
        tag: Annotated[str, Query(max_length=64)] = "",
        percent: Annotated[float, Query(gt=0, le=100)] = 100.0,
    ) -> Response:
        await operator(request)
        return _json(releases.foreseen(version, tag, percent))

    @app.post(f"{API}/rollouts", status_code=201, summary="Begin a rollout, or widen the one of this version and tag")
    async def roll_out(request: Request, body: NewRollout) -> Response:
        who = await operator(request)
        made = await releases.roll_out(who, body.version, body.tag, body.percent, body.most_failed)
        service.remind_all()
        return _json(made, 201)

    @app.post(f"{API}/rollouts/{{number}}/pause", summary="Ask no further kit")
    async def pause(request: Request, number: int) -> Response:
        return _json(await releases.pause(await operator(request), number))


def _bundles(app: FastAPI, service: FleetService, operator: Operator, access: Access) -> None:
    @app.put(f"{API}/releases", status_code=201, summary="Publish a signed bundle")
    async def publish(request: Request) -> Response:
        return _json(await service.releases.publish(await operator(request), request.stream()), 201)

    @app.get(f"{API}/bundles/{{file}}", summary="A bundle, whole or from where a download broke off (Range)")
    async def bundle(request: Request, file: str) -> Response:
        """Download a bundle with a kit's or an admin's token. A kit trusts the bundle by the signature inside it."""
        _may_fetch(access.bearer(request))
        path, release = await service.releases.bundle(file)
        return FileResponse(path, media_type="application/x-tar", headers={"ETag": f'"{release.sha256}"'})


def _may_fetch(who: Principal) -> None:
    if who.role not in (Role.KIT, Role.ADMIN):
        raise Forbidden("Bundles are for kits and for those who run them.")


def _json(body: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, {"Cache-Control": "no-store"}, "application/json")
