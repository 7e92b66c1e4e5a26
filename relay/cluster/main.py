"""Construction of a relay's part in a cluster: the link to the others, the list of members, leases, and the bus."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncEngine

from relay.bus.mqtt import Address
from relay.clock import SteadyClock
from relay.cluster.bus import NatsBus
from relay.cluster.leases import Fence, Turn
from relay.cluster.link import Link, is_cluster, servers
from relay.cluster.members import Members
from relay.db.leases import Leases
from relay.errors import SettingsError
from relay.process.metrics import Metrics
from relay.settings import RelaySettings

LEAVE_WITHIN_S = 2.0
MQTT_PORT = 1883
"""The MQTT port given to kits unless identity.broker_url is set: a NATS server does not announce its MQTT port."""


class Cluster:
    """One relay's membership. `run` keeps it in the cluster; `leave` tells the others, so that they know at once."""

    def __init__(self, settings: RelaySettings, engine: AsyncEngine, metrics: Metrics) -> None:
        if engine.dialect.name != "postgresql":
            raise SettingsError(
                "database_url: a cluster's relays share one PostgreSQL; give postgresql://user:password@host:5432/name"
            )
        chosen = settings.cluster
        first = urlsplit(servers(settings.mqtt.url)[0]).hostname or "localhost"
        self.kits = Address(host=first, port=MQTT_PORT)
        self.link = Link(settings.mqtt.url, chosen.name or f"relay-{secrets.token_hex(4)}", metrics)
        self._leases = Leases(engine)
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

    def in_turn(self, name: str, duty: Callable[[Fence], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """That duty, done by one relay of the cluster at a time."""
        return Turn(self._leases, name, self.link.name, duty).run

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.link.run())
            group.create_task(self.members.run())

    async def leave(self) -> None:
        self.members.leave()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.link.close(), LEAVE_WITHIN_S)


def join(settings: RelaySettings, engine: AsyncEngine, metrics: Metrics) -> Cluster | None:
    """The cluster that the settings name, or None for a relay that is alone."""
    return Cluster(settings, engine, metrics) if is_cluster(settings.mqtt.url) else None
