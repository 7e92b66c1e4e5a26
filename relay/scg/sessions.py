"""The sessions in memory: those somebody measures or watches, each once, read from the database on demand.

An idle session leaves memory after a while; what is committed stays. Two concurrent requests get the same object.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

import structlog

from core.contracts.errors import InvalidMessage
from core.contracts.seq_ranges import SeqRanges
from relay.clock import Clock
from relay.errors import Full, SessionNotFound
from relay.process.metrics import Metrics
from relay.rooms import Room
from relay.scg.entries import Entry, Session, unawaited
from relay.scg.live import Live
from relay.scg.store import Store
from relay.scg.writer import Writer

ANALYSE_EVERY_S = 1.0
FORGET_AFTER_MS = 600_000.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits: sessions in memory; frames and ms that a slow viewer may fall behind; ms of backlog."""

    live_sessions: int
    ring_frames: int
    ring_ms: float
    backlog_ms: float


class LiveSessions:
    """`of` loads a session into memory; `analyse_for_ever` is the duty that computes heart rates."""

    def __init__(self, store: Store, writer: Writer, clock: Clock, metrics: Metrics, bounds: Bounds) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._metrics = metrics
        self._bounds = bounds
        self._live: dict[str, Live] = {}
        self._loading: dict[str, asyncio.Task[Live]] = {}

    def held(self, session_id: str) -> Live | None:
        """The session if it is in memory, else None."""
        return self._live.get(session_id)

    async def of(self, session_id: str, *, kit: str | None = None) -> Live:
        """The session, loaded if necessary. With `kit`, an unknown session is created.

        Raises SessionNotFound when it is unknown and no kit is given, and Full when no more sessions fit in memory.
        """
        found = self._live.get(session_id)
        if found is not None:
            return found
        task = self._loading.get(session_id)
        if task is None:
            return await asyncio.shield(self._begin_loading(session_id, kit))
        try:
            return await asyncio.shield(task)
        except SessionNotFound:
            if kit is None:
                raise
        # A request that may not create the session came first and failed: the kit's samples must not be refused for it.
        return await self.of(session_id, kit=kit)

    def _begin_loading(self, session_id: str, kit: str | None) -> asyncio.Task[Live]:
        task = asyncio.create_task(self._load(session_id, kit))
        self._loading[session_id] = task
        task.add_done_callback(lambda _: self._loading.pop(session_id, None))
        return task

    async def _load(self, session_id: str, kit: str | None) -> Live:
        session = await self._store.session(session_id)
        if session is None:
            if kit is None:
                raise SessionNotFound("Session not found")
            session = Session(id=session_id, started_at_ms=self._clock.now_ms(), kit=kit)
            self._writer.submit(Entry(session=session_id, done=unawaited, put=session, begins=True))
            log.info("session_created", session=session_id, kit=kit)
        if len(self._live) >= self._bounds.live_sessions and not self.forget_idle(after_ms=0):
            raise Full("This relay holds as many live sessions as it may. Try again later.")
        live = self._made(session, await self._store.seen(session_id))
        if live.taken and session.ended_at_ms is None:
            recent = await self._store.since(session_id, None, self._bounds.backlog_ms)
            if recent is not None:
                live.prime(recent)
        self._live[session_id] = live
        self._metrics.live_sessions.set(len(self._live))
        return live

    def _made(self, session: Session, seen: dict[str, SeqRanges]) -> Live:
        return Live(
            session=session,
            room=Room(
                self._clock.monotonic_ms,
                size=self._bounds.ring_frames,
                keep_ms=self._bounds.ring_ms,
                on_drop=self._metrics.frames_dropped.inc,
            ),
            clock=self._clock,
            metrics=self._metrics,
            backlog_ms=self._bounds.backlog_ms,
            taken=seen,
            stored={boot: SeqRanges(ranges.ranges()) for boot, ranges in seen.items()},
            newest_at_ms=self._clock.monotonic_ms(),
        )

    def forget_idle(self, after_ms: float = FORGET_AFTER_MS) -> int:
        """Drop sessions from memory that nobody is in and nothing came for in `after_ms`; returns how many."""
        horizon = self._clock.monotonic_ms() - after_ms
        idle = [
            key
            for key, live in self._live.items()
            if not live.room.members and live.newest_at_ms <= horizon and live.settled
        ]
        for key in idle:
            del self._live[key]
        self._metrics.live_sessions.set(len(self._live))
        return len(idle)

    async def reread(self, live: Live) -> None:
        """Another relay changed the session's row: read it again, and announce an end."""
        session = await self._store.session(live.session.id)
        if session is None or self._live.get(session.id) is not live:
            return
        ended = session.ended_at_ms is not None and live.session.ended_at_ms is None
        live.become(session)
        if ended:
            live.announce("session_ended")

    def of_kit(self, kit: str) -> list[Live]:
        return [live for live in self._live.values() if live.session.kit == kit]

    async def analyse_for_ever(self) -> None:
        """Once a second, analyse the sessions for which somebody asked for it."""
        while True:
            await asyncio.sleep(ANALYSE_EVERY_S)
            for live in list(self._live.values()):
                if live.analysed:
                    await live.analyse()
            self.forget_idle()


def canonical(session_id: str) -> str:
    """A session's id as stored; InvalidMessage when it is no UUID."""
    try:
        return str(uuid.UUID(session_id))
    except (ValueError, AttributeError, TypeError):
        raise InvalidMessage("A session's id is a UUID") from None
