"""What every API of a relay stands on, and what it gives back: the two shapes by which main.py joins them.

An API's own main.py takes the Ground and returns its Part; it never learns of the others.
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
    """The documented port at whose root an API stands, beside its prefix on every port."""

    SCG = "scg"
    CARE = "care"
    SIGNS = "signs"
    TRANSLATE = "translate"


@dataclass(frozen=True, slots=True)
class Ground:
    """Made once by main.py. `secret` signs tokens and links; `kits` brings messages from kits and takes commands.

    `cluster` is there when this relay is one of several, `history` when recordings are read from a replica.
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
        """A duty that one relay of a cluster does at a time; of one that is alone, always its own."""
        return self.cluster.in_turn(name, duty) if self.cluster is not None else lambda: duty(unfenced)


@dataclass(frozen=True, slots=True)
class Part:
    """One API: where it stands, what must run for it, and what is to be finished before the relay ends.

    `also` are further documented ports at whose root it stands. `openable` names an API that asks for tokens only
    where a listener does, and that an operator may set open by name. `base` is the first part of its paths, whose
    unknown ones it refuses in its own words.
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
