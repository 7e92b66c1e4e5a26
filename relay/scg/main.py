"""Heart sessions put together."""

from __future__ import annotations

from functools import partial

from relay.cluster.feed import ClusterFeed
from relay.db.months import keep_for_ever
from relay.ground import Duty, Ground, Part, Root
from relay.retention.main import retention_of
from relay.scg import gateway
from relay.scg.feeds import Alone, Feed
from relay.scg.routes import application
from relay.scg.service import Bounds, ScgService
from relay.scg.store import Store


def open_scg(ground: Ground) -> Part:
    settings, metrics, limits = ground.settings, ground.metrics, ground.settings.limits
    store = Store(
        ground.engine,
        metrics,
        max_samples=limits.pending_samples,
        commit_every_s=settings.commit_every_ms / 1000,
        history=ground.history,
    )
    bounds = Bounds(
        live_sessions=limits.live_sessions,
        sockets=limits.viewers,
        ring_frames=limits.ring_frames,
        ring_ms=limits.ring_s * 1000,
        backlog_ms=limits.backlog_s * 1000,
    )
    feed: Feed = Alone()
    if ground.cluster is not None:
        link, bus = ground.cluster.link, ground.cluster.bus
        feed = joined = ClusterFeed(link, store, metrics, ground.tracing, bus.pending, bounds.backlog_ms)
        ground.cluster.members.on_gone.append(joined.gone)
    service = ScgService(store, ground.clock, metrics, bounds, feed, ground.tracing)
    if isinstance(feed, ClusterFeed):
        feed.reread = service.reread
    kits = gateway.KitGateway(service, store)
    ground.kits.answer(gateway.TYPES, kits.take)
    ground.kits.listen_presence(kits.presence)

    duties: dict[str, Duty] = {
        "store": store.run,
        "analysis": service.analyse_for_ever,
        "compaction": ground.in_turn("compaction", store.compact_for_ever),
    }
    if ground.engine.dialect.name == "postgresql":
        duties["months"] = ground.in_turn("months", partial(keep_for_ever, ground.engine))
    if settings.retention.remove_days or settings.retention.thin_days:
        retention = retention_of(settings, ground.engine, ground.clock.now_ms, metrics)
        duties["retention"] = ground.in_turn("retention", retention.run)

    async def has_room() -> bool:
        return not store.full

    return Part(
        "scg",
        application(service, store, ground.access, settings.public_url),
        root=Root.SCG,
        openable=True,
        duties=duties,
        checks={"database": has_room},
        drained=store.drained,
    )
