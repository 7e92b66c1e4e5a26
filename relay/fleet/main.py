"""Construction of the fleet API, for relay.main: its store, its release folder, its service and its routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from starlette.requests import HTTPConnection

from relay.accounts.service import Accounts
from relay.auth import Role
from relay.cluster.fleet import FleetPeers
from relay.entrance.access import Access
from relay.errors import Forbidden, Unauthorized
from relay.fleet.gateway import ReleaseFolder
from relay.fleet.others import Alone
from relay.fleet.register import TYPES, Register
from relay.fleet.releases import Releases
from relay.fleet.routes import application
from relay.fleet.rules import Kit, Release
from relay.fleet.service import FleetService
from relay.fleet.store import FleetStore
from relay.ground import Ground, Part

KEYS = "release-keys"
"""File in the data folder: the public keys of releases that this relay may serve, one per line."""


async def open_fleet(ground: Ground) -> Part:
    data, base, now_ms = ground.settings.data, ground.settings.public_url.rstrip("/"), ground.clock.now_ms
    others = _others(ground)
    store, known = FleetStore(ground.engine, others.tell), dict[str, Kit]()
    releases = Releases(store, ReleaseFolder(data / "releases", data / KEYS), now_ms, known, others)

    def link(kit: str, release: Release) -> str:
        token = ground.access.link(kit, Role.KIT)
        return f"{base}/fleet/api/v1/bundles/{release.file}?token={token}"

    register = Register(store, releases, known, now_ms, ground.kits.command, link, others)
    await register.load()
    ground.kits.listen_status(register.heard)
    ground.kits.listen_presence(register.presence)
    ground.kits.answer(TYPES, register.take)
    service = FleetService(store, register, now_ms, others)
    return Part(
        "fleet",
        application(service, _operator(ground.access, ground.accounts), ground.access),
        duties={
            "fleet_store": store.run,
            "rollouts": releases.watch_for_ever,
            **({"fleet_peers": partial(others.run, register)} if isinstance(others, FleetPeers) else {}),
        },
        drained=store.drained,
    )


def _others(ground: Ground) -> FleetPeers | Alone:
    if ground.cluster is None:
        return Alone()
    return FleetPeers(ground.cluster.link, ground.cluster.members, ground.settings.cluster.replicas)


def _operator(access: Access, accounts: Accounts) -> Callable[[HTTPConnection], Awaitable[str]]:
    """Gives the name of the caller: an admin signed in on the pages, or the bearer of an admin's token (`homeside
    token`).
    """

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
