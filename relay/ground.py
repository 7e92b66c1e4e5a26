"""The interface between main.py and the APIs: Ground is what each API is given, Part what it returns.

An API's own main.py builds its Part from the Ground, and knows no other API.
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
    """The documented port at whose root an API is served; under its prefix it is served on every port."""

    SCG = "scg"
    CARE = "care"
    SIGNS = "signs"
    TRANSLATE = "translate"


@dataclass(frozen=True, slots=True)
class Ground:
    """Made once by main.py. `secret` signs tokens and links; `kits` passes messages from kits and takes commands.

    `cluster` is set when this relay is one of several, `history` when recordings are read from a replica.
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
        """A duty that one relay of a cluster does at a time; a relay that is alone always does it."""
        return self.cluster.in_turn(name, duty) if self.cluster is not None else lambda: duty(unfenced)


@dataclass(frozen=True, slots=True)
class Part:
    """One API: where it is served, what must run for it, and what must finish before the relay ends.

    `also`: further ports at whose root it is served. `openable`: it needs a token only on listeners that ask for
    tokens, and the operator may exempt it by name. `base`: first segment of its paths; unknown paths there get its
    error bodies.
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
