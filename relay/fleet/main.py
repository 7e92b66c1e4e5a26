"""The fleet put together, for relay.main: its store, its releases' folder, its service and its application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import HTTPConnection

from relay.access import Access
from relay.accounts.service import Accounts
from relay.auth import Role
from relay.errors import Forbidden, Unauthorized
from relay.fleet.gateway import ReleaseFolder
from relay.fleet.releases import Releases
from relay.fleet.routes import application
from relay.fleet.rules import Kit, Release
from relay.fleet.service import TYPES, FleetService
from relay.fleet.store import FleetStore
from relay.kits import Switchboard

KEYS = "release-keys"
"""In the data folder: public keys whose releases this relay hands out, a line each."""


@dataclass(frozen=True, slots=True)
class Fleet:
    service: FleetService
    app: FastAPI
    duties: Mapping[str, Callable[[], Awaitable[None]]]
    drained: Callable[[], Awaitable[None]]


async def open_fleet(
    engine: AsyncEngine,
    data: Path,
    kits: Switchboard,
    access: Access,
    accounts: Accounts,
    now_ms: Callable[[], float],
    public_url: str,
) -> Fleet:
    store = FleetStore(engine)
    known: dict[str, Kit] = {}
    releases = Releases(store, ReleaseFolder(data / "releases", data / KEYS), now_ms, known)

    def link(kit: str, release: Release) -> str:
        token = access.link(kit, Role.KIT)
        return f"{public_url.rstrip('/')}/fleet/api/v1/bundles/{release.file}?token={token}"

    service = FleetService(store, releases, known, now_ms, kits.command, link)
    await service.load()
    await releases.load()
    kits.listen_status(service.heard)
    kits.listen_presence(service.presence)
    kits.answer(TYPES, service.take)
    duties = {"fleet_store": store.run, "rollouts": releases.watch_for_ever}
    return Fleet(service, application(service, _operator(access, accounts), access), duties, store.drained)


def _operator(access: Access, accounts: Accounts) -> Callable[[HTTPConnection], Awaitable[str]]:
    """Names who asks: an admin signed in on the pages, or the bearer of an admin's token (`homeside token`)."""

    async def operator(connection: HTTPConnection) -> str:
        token = access.token(connection)
        try:
            account, _ = await accounts.who(token)
            who, role = account.email, account.role
        except Unauthorized:
            principal = access.bearer(connection)
            if principal.sign_in is not None:
                raise
            who, role = principal.subject, principal.role
        if role is not Role.ADMIN:
            raise Forbidden("The fleet is for admins; you are signed in as somebody else.")
        return who

    return operator
