"""The parts of a clustered relay put together, and what it does beside those of a relay that is alone."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from relay.clock import SteadyClock, boot_id
from relay.cluster.bus import NatsBus
from relay.cluster.feed import ClusterFeed
from relay.cluster.link import Link
from relay.cluster.members import Members
from relay.cluster.peers import TimerPeers
from relay.errors import SettingsError
from relay.metrics import Metrics
from relay.scg.service import ScgService
from relay.scg.store import Store
from relay.settings import RelaySettings
from relay.timers.service import Bounds
from relay.timers.shared.service import SharedTimers
from relay.timers.shared.store import SharedStore
from relay.timers.store import Store as TimerStore

Duties = dict[str, Callable[[], Awaitable[None]]]


class Cluster:
    """One relay's part in it."""

    def __init__(self, settings: RelaySettings, engine: AsyncEngine, store: Store, metrics: Metrics) -> None:
        if engine.dialect.name != "postgresql":
            raise SettingsError(
                "database_url: a cluster's relays share one PostgreSQL; give postgresql://user:password@host:5432/name"
            )
        chosen = settings.cluster
        self._engine = engine
        self._metrics = metrics
        self._bounds = settings.timers
        self.link = Link(settings.mqtt.url, chosen.name or f"relay-{secrets.token_hex(4)}", metrics)
        self.steady = SteadyClock()
        self.members = Members(self.link, self.steady, metrics)
        self.bus = NatsBus(
            self.link,
            self.members,
            metrics,
            replicas=chosen.replicas,
            partitions=chosen.partitions,
            stream_bytes=chosen.stream_mb << 20,
        )
        self.feed = ClusterFeed(self.link, store, metrics, settings.limits.backlog_s * 1000)
        self.members.on_gone.append(self.feed.gone)
        self._timers: SharedTimers | None = None

    async def timers(self) -> tuple[TimerStore, SharedTimers]:
        """Timers on the timescale of this machine's other relays, if there were any, and soon on the senior's."""
        store = SharedStore(self._engine, self._metrics)
        boot = boot_id()
        anchor = await store.anchor(boot)
        if anchor is not None:
            self.steady.anchor_ns = anchor
        await store.keep_anchor(boot, self.steady.anchor_ns, alone=False)
        chosen = self._bounds
        bounds = Bounds(chosen.sessions, chosen.sockets, chosen.switches_per_s)
        peers = TimerPeers(self.link, self.members)
        self._timers = SharedTimers(store, self.steady, self._metrics, bounds, peers)
        return store, self._timers

    def duties(self, heart: ScgService) -> Duties:
        assert self._timers is not None
        self.feed.reread = heart.reread
        return {"link": self.link.run, "members": self.members.run, "timers_due": self._timers.look_for_ever}

    async def leave(self) -> None:
        """Said, so that nobody has to miss this relay first."""
        self.members.leave()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.link.close(), 2.0)
