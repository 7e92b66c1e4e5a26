"""Construction of the timers' API, for a single relay or for one of a cluster."""

from __future__ import annotations

from relay.clock import SteadyClock, boot_id
from relay.cluster.main import Cluster
from relay.cluster.peers import TimerPeers
from relay.ground import Duty, Ground, Part, Root
from relay.timers.routes import application
from relay.timers.service import Bounds, TimersService
from relay.timers.shared.service import SharedTimers
from relay.timers.shared.store import SharedStore
from relay.timers.store import Store


async def open_timers(ground: Ground) -> Part:
    settings = ground.settings.timers
    bounds = Bounds(
        sessions=settings.sessions,
        sockets=settings.sockets,
        switches_per_s=settings.switches_per_s,
        write_through=settings.write_through,
    )
    cluster = ground.cluster
    service, duties = await (_beside_others(ground, cluster, bounds) if cluster else _alone(ground, bounds))
    await service.load()
    return Part(
        "timers",
        application(service, ground.access, ground.metrics),
        root=Root.CARE,
        duties={**duties, "timers": service.forget_for_ever},
        drained=service.drained,
    )


async def _alone(ground: Ground, bounds: Bounds) -> tuple[TimersService, dict[str, Duty]]:
    store = Store(ground.engine, ground.metrics, rest_s=ground.settings.timers.write_behind_ms / 1000)
    boot = boot_id()
    steady = SteadyClock(await store.anchor(boot))
    await store.keep_anchor(boot, steady.anchor_ns)
    return TimersService(store, steady, ground.metrics, bounds), {"timer_store": store.run}


async def _beside_others(ground: Ground, cluster: Cluster, bounds: Bounds) -> tuple[TimersService, dict[str, Duty]]:
    """Start on the timescale that relays of this machine used before, if any; it then follows the senior relay's."""
    store = SharedStore(ground.engine, ground.metrics)
    boot = boot_id()
    anchor = await store.anchor(boot)
    if anchor is not None:
        cluster.steady.anchor_ns = anchor
    await store.keep_anchor(boot, cluster.steady.anchor_ns, alone=False)
    peers = TimerPeers(cluster.link, cluster.members)
    service = SharedTimers(store, cluster.steady, ground.metrics, bounds, peers)
    return service, {"timers_due": service.look_for_ever}
