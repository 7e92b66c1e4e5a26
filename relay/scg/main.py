"""Construction of the heart sessions' API."""

from __future__ import annotations

from functools import partial

from relay.cluster.feed import ClusterFeed
from relay.db.months import keep_for_ever
from relay.ground import Duty, Ground, Part, Root
from relay.retention.main import retention_of
from relay.scg.feeds import Alone, Feed
from relay.scg.gateway import TYPES, KitGateway
from relay.scg.intake import Intake
from relay.scg.routes import application
from relay.scg.service import ScgService
from relay.scg.sessions import Bounds, LiveSessions
from relay.scg.sockets import Sockets
from relay.scg.store import Store
from relay.scg.writer import Writer


def open_scg(ground: Ground) -> Part:
    settings, metrics, clock, limits = ground.settings, ground.metrics, ground.clock, ground.settings.limits
    store = Store(ground.engine, metrics, history=ground.history)
    every_s = settings.commit_every_ms / 1000
    writer = Writer(store.keep, metrics, max_samples=limits.pending_samples, commit_every_s=every_s)
    backlog_ms = limits.backlog_s * 1000
    bounds = Bounds(limits.live_sessions, limits.ring_frames, limits.ring_s * 1000, backlog_ms)
    sessions = LiveSessions(store, writer, clock, metrics, bounds)
    feed = _feed(ground, sessions, store, backlog_ms)
    intake = Intake(writer, metrics, feed, ground.tracing)
    sockets = Sockets(intake, feed, clock, metrics, most=limits.viewers)
    service = ScgService(store, writer, sessions, intake, clock)
    kits = KitGateway(sessions, intake, writer, feed)
    ground.kits.answer(TYPES, kits.take)
    ground.kits.listen_presence(kits.presence)

    async def has_room() -> bool:
        return not writer.full

    return Part(
        "scg",
        application(service, sessions, sockets, writer, ground.access, settings.public_url),
        root=Root.SCG,
        openable=True,
        duties={"store": writer.run, "analysis": sessions.analyse_for_ever} | _upkeep(ground, store),
        checks={"database": has_room},
        drained=writer.drained,
    )


def _feed(ground: Ground, sessions: LiveSessions, store: Store, backlog_ms: float) -> Feed:
    if ground.cluster is None:
        return Alone()
    link, bus = ground.cluster.link, ground.cluster.bus
    feed = ClusterFeed(link, store, ground.metrics, ground.tracing, bus.pending, backlog_ms, sessions.reread)
    ground.cluster.members.on_gone.append(feed.gone)
    return feed


def _upkeep(ground: Ground, store: Store) -> dict[str, Duty]:
    """Maintenance duties, each done by one relay of a cluster at a time."""
    settings, engine = ground.settings, ground.engine
    duties: dict[str, Duty] = {"compaction": ground.in_turn("compaction", store.compact_for_ever)}
    if engine.dialect.name == "postgresql":
        duties["months"] = ground.in_turn("months", partial(keep_for_ever, engine))
    if settings.retention.remove_days or settings.retention.thin_days:
        retention = retention_of(settings, engine, ground.clock.now_ms, ground.metrics)
        duties["retention"] = ground.in_turn("retention", retention.run)
    return duties
