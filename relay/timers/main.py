"""Timers put together: as they were, upon the timescale they ran by."""

from __future__ import annotations

from relay.clock import SteadyClock, boot_id
from relay.ground import Ground, Part, Root
from relay.timers.routes import application
from relay.timers.service import Bounds, TimersService
from relay.timers.store import Store


async def open_timers(ground: Ground) -> Part:
    settings, boot = ground.settings.timers, boot_id()
    store = Store(ground.engine, ground.metrics, rest_s=settings.write_behind_ms / 1000)
    steady = SteadyClock(await store.anchor(boot))
    await store.keep_anchor(boot, steady.anchor_ns)
    bounds = Bounds(
        sessions=settings.sessions,
        sockets=settings.sockets,
        switches_per_s=settings.switches_per_s,
        write_through=settings.write_through,
    )
    service = TimersService(store, steady, ground.metrics, bounds)
    await service.load()
    return Part(
        "timers",
        application(service, ground.access, ground.metrics),
        root=Root.CARE,
        duties={"timer_store": store.run, "timers": service.forget_for_ever},
        drained=store.drained,
    )
