"""What every API of the relay is given, and what it returns: the two types by which main.py connects them.

An API's own main.py takes the Ground and returns its Part; it knows nothing of the other APIs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncEngine

from relay.accounts.service import Accounts
from relay.bus.switchboard import Switchboard
from relay.clock import Clock
from relay.cluster.leases import Fence, unfenced
from relay.cluster.main import Cluster
from relay.entrance.access import Access
from relay.entrance.ports import Routed
from relay.process.metrics import Metrics
from relay.process.tracing import Tracing, Untraced
from relay.settings import RelaySettings

Duty = Callable[[], Awaitable[None]]
Check = Callable[[], Awaitable[bool]]


class Root(StrEnum):
    """The documented port at whose root an API is served, in addition to its prefix on every port."""

    SCG = "scg"
    CARE = "care"
    SIGNS = "signs"
    TRANSLATE = "translate"


@dataclass(frozen=True, slots=True)
class Ground:
    """Shared parts, created once by main.py. `secret` signs tokens and links; `kits` delivers kits' messages and takes
    commands.

    `cluster` is set if this relay is one of several, `history` if recordings are read from a replica.
    """

    settings: RelaySettings
    engine: AsyncEngine
    clock: Clock
    metrics: Metrics
    secret: bytes
    access: Access
    accounts: Accounts
    kits: Switchboard
    cluster: Cluster | None = None
    history: AsyncEngine | None = None
    tracing: Tracing = field(default_factory=Untraced)

    def in_turn(self, name: str, duty: Callable[[Fence], Awaitable[None]]) -> Duty:
        """A background duty that only one relay of a cluster runs at a time; a single relay always runs it."""
        return self.cluster.in_turn(name, duty) if self.cluster is not None else lambda: duty(unfenced)


@dataclass(frozen=True, slots=True)
class Part:
    """One API: where it is served, its background duties, and what must be finished before the relay stops.

    `also` are further documented ports at whose root it is served. `openable` marks an API that needs tokens only if
    its listener does, and that an operator may open by name in the settings. `base` is the first part of its paths;
    unknown paths below it get its own 404.
    """

    name: str
    app: Routed
    root: Root | None = None
    also: tuple[Root, ...] = ()
    openable: bool = False
    base: str | None = None
    duties: Mapping[str, Duty] = field(default_factory=dict)
    checks: Mapping[str, Check] = field(default_factory=dict)
    drained: Duty | None = None
