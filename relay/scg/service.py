"""Heart sessions: one way in for phones and kits alike, stored once and before they are acknowledged.

Knows neither HTTP nor SQL. A batch is checked, counted by (session, boot, seq), handed to the writer, and shown.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec
import structlog

from core.contracts import scg
from core.contracts.errors import ContractError, InvalidMessage, UnknownType
from core.contracts.seq_ranges import SeqRanges
from core.contracts.session_object import full_session, samples_object
from relay.clock import Clock
from relay.errors import Full, RelayError, SessionNotFound, SessionTaken
from relay.process.metrics import Metrics
from relay.process.tracing import MS, Tracing, Untraced
from relay.rooms import Audience, Member, Room
from relay.scg.feeds import Alone, Feed
from relay.scg.live import Live, summary
from relay.scg.rules import Part, rate_hz
from relay.scg.store import Entry, Session, Store

ANALYSE_EVERY_S = 1.0
FORGET_AFTER_MS = 600_000.0
OVER_AFTER_MS = 60_000.0

log = structlog.get_logger(__name__)


class Sender(Protocol):
    """Where a message came from, and where its acknowledgement goes."""

    @property
    def source(self) -> str: ...
    def ack(self, boot: str, seq: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a relay holds: sessions in memory, sockets, frames and ms a slow viewer may be behind, ms of backlog."""

    live_sessions: int
    sockets: int
    ring_frames: int
    ring_ms: float
    backlog_ms: float


class ScgService:
    """The use cases of the document and its extras."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        bounds: Bounds,
        feed: Feed | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing, self.feed = tracing or Untraced(), feed or Alone()
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._bounds = bounds
        self._live: dict[str, Live] = {}
        self._loading: dict[str, asyncio.Task[Live]] = {}
        self._sockets = 0

    # -- sessions ------------------------------------------------------------------------------------------------

    async def create(self, *, user_agent: str, platform: str) -> Session:
        """A new session, committed before this returns."""
        session = Session(
            id=str(uuid.uuid4()), started_at_ms=self._clock.now_ms(), user_agent=user_agent, platform=platform
        )
        await self._committed(lambda done: Entry(session=session.id, done=done, put=session))
        log.info("session_created", session=session.id)
        return session

    async def find(self, session_id: str) -> Session:
        """The session as it stands. Raises SessionNotFound."""
        live = self._live.get(session_id)
        found = live.session if live else await self._store.session(session_id)
        if found is None:
            raise SessionNotFound("Session not found")
        return found

    async def recent(self, limit: int) -> list[dict[str, Any]]:
        """The newest sessions, and who is in them."""
        sessions = await self._store.recent(limit)
        return [self._live[s.id].summary() if s.id in self._live else summary(s) for s in sessions]

    async def end(self, session_id: str) -> int:
        """End a session and tell everybody; gives the number of samples stored. Ending twice is no error."""
        live = await self.live(session_id)
        now_ms = self._clock.now_ms()
        await self._committed(lambda done: self.ended(live, now_ms, done))
        return await self._store.count(session_id)

    async def export(self, session_id: str, *, tuples: bool = False) -> Iterator[bytes]:
        """The Full Session Object in slices; what is taken but not committed yet is waited for."""
        session = await self.find(session_id)
        await self._store.drained(session_id)
        columns = await self._store.samples(session_id, over=self._over(session))
        head: dict[str, Any] = {"sessionId": session.id, "startedAt": scg.iso(session.started_at_ms)}
        if session.ended_at_ms is not None:
            head["endedAt"] = scg.iso(session.ended_at_ms)
        head["samplingRateHz"] = round(rate_hz(columns.t), 3) if columns is not None else 0.0
        head |= {"device": {"userAgent": session.user_agent, "platform": session.platform}, "unit": session.unit}
        if session.sensor:
            head["sensor"] = session.sensor
        if session.thinned_hz is not None:
            head["thinnedHz"] = session.thinned_hz
        return full_session(head, columns, tuples=tuples)

    async def samples(self, session_id: str) -> Iterator[bytes]:
        session = await self.find(session_id)
        await self._store.drained(session_id)
        return samples_object(b"{", await self._store.samples(session_id, over=self._over(session)))

    def _over(self, session: Session) -> bool:
        """So long ago that a replica has all of it."""
        return session.ended_at_ms is not None and self._clock.now_ms() - session.ended_at_ms > OVER_AFTER_MS

    # -- in memory -----------------------------------------------------------------------------------------------

    async def live(self, session_id: str, *, kit: str | None = None) -> Live:
        """The session in memory, read from the store when needed. With `kit`, an unknown one begins here."""
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
        # Somebody who may not begin it asked in the same moment: a kit's samples are not refused for that.
        return await self.live(session_id, kit=kit)

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
            self._store.submit(Entry(session=session_id, done=_nothing, put=session, begins=True))
            log.info("session_created", session=session_id, kit=kit)
        if len(self._live) >= self._bounds.live_sessions and not self.forget_idle(after_ms=0):
            raise Full("This relay holds as many live sessions as it may. Try again later.")
        seen = await self._store.seen(session_id)
        live = Live(
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
        if seen and session.ended_at_ms is None:
            recent = await self._store.since(session_id, None, self._bounds.backlog_ms)
            if recent is not None:
                live.prime(recent)
        self._live[session_id] = live
        self._metrics.live_sessions.set(len(self._live))
        return live

    def forget_idle(self, after_ms: float = FORGET_AFTER_MS) -> int:
        """Let go of sessions nobody is in and nothing came for. What is committed stays; memory does not."""
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
        """Another relay changed the session's row: take it as it is now, and tell of its end."""
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
        """Once a second, for the sessions somebody asked it for."""
        while True:
            await asyncio.sleep(ANALYSE_EVERY_S)
            for live in list(self._live.values()):
                if live.analysed:
                    await live.analyse()
            self.forget_idle()

    # -- sockets -------------------------------------------------------------------------------------------------

    def check_room(self) -> None:
        """Raises Full when every place is taken."""
        if self._sockets >= self._bounds.sockets:
            raise Full("This relay holds as many sockets as it may. Try again in a moment.")

    def enter(self, live: Live, member: Member, part: Part, after: float | None = None) -> None:
        """Seat a socket: backlog first (what follows `after`), then whatever comes; everybody hears of it."""
        if part is not Part.PATIENT and live.line is None:
            live.start_line()
        if member.audience is Audience.ANALYST:
            live.room.send(member, live.info())
        backlog = live.backlog(after) if part is not Part.PATIENT else None
        if backlog is not None:
            live.room.send(member, backlog)
        live.room.join(member)
        if after is not None:
            live.wait_for(member, after)
        self._count_sockets(1)
        if status := live.presence.join(member, part):
            live.announce(status)
        if live.session.ended_at_ms is not None:
            live.room.send(member, scg.status_update("session_ended", live.presence.viewer_count))
        self.feed.present(live)

    def leave(self, live: Live, member: Member, part: Part) -> None:
        live.room.leave(member)
        live.ahead.pop(member, None)
        self._count_sockets(-1)
        live.announce(live.presence.leave(member, part))
        if not live.watched:
            live.stop_line()
        self.feed.present(live)
        if not live.room.members:
            self.feed.unwatch(live)

    def _count_sockets(self, change: int) -> None:
        self._sockets += change
        self._metrics.sockets.set(self._sockets)

    def message(self, live: Live, member: Member, part: Part, data: str | bytes, sender: Sender) -> None:
        """One message of a socket. Whatever is wrong with it is answered; the socket stays."""
        try:
            envelope = scg.decode_envelope(data)
            if envelope.type == "samples_batch":
                self._samples(live, member, part, envelope, sender)
            elif envelope.type == "device":
                self._device(live, member, part, envelope)
            elif envelope.type == "ping":
                ping = scg.decode_payload(envelope.payload, scg.Ping)
                pong = {"sent": ping.sent, "serverTime": self._clock.now_ms()}
                live.room.send(member, scg.message("pong", pong))
            else:
                raise UnknownType(
                    f"Nothing here answers {envelope.type[:64]!r}; expected samples_batch, device or ping"
                )
        except (ContractError, RelayError) as error:
            self._metrics.refused.labels(error.code).inc()
            live.room.send(member, scg.error(error.code, str(error)))

    def _samples(self, live: Live, member: Member, part: Part, envelope: scg.Envelope, sender: Sender) -> None:
        batch = scg.decode_payload(envelope.payload, scg.SamplesBatch)
        columns = scg.columns(batch)
        if live.session.ended_at_ms is not None and envelope.number is None:
            raise InvalidMessage("The session has ended; begin a new one with POST /api/v1/sessions")
        live.must_be_browsers()
        newcomer = live.presence.patient is not member
        if not live.presence.claim(member, part, envelope.boot):
            raise SessionTaken("This session has its patient already; only one may send samples")
        if newcomer:
            live.room.move(member, Audience.PATIENT)
            live.announce("patient_connected")
            if not live.watched:
                live.stop_line()
            self.feed.present(live)
        self.take(live, envelope, batch, columns, sender)

    def _device(self, live: Live, member: Member, part: Part, envelope: scg.Envelope) -> None:
        said = scg.decode_payload(envelope.payload, scg.DeviceSaid)
        live.must_be_browsers()
        may = part is Part.PATIENT or (part is Part.UNKNOWN and live.presence.patient in (None, member))
        if not may:
            raise SessionTaken("Only the patient's side says which device measures")
        self.describe(live, _nothing, user_agent=said.user_agent, platform=said.platform, unit=said.unit)

    # -- samples and what describes them -------------------------------------------------------------------------

    def take(
        self,
        live: Live,
        envelope: scg.Envelope,
        batch: scg.SamplesBatch,
        columns: scg.Columns,
        sender: Sender,
        *,
        present: bool = True,
    ) -> None:
        """Store a batch once, acknowledge it after its commit and, when it is of the `present`, show it."""
        number = envelope.number
        if number is not None and not live.first_taken(*number):
            self._metrics.duplicates.inc()
            if live.is_stored(*number):
                sender.ack(*number)
            return
        self._metrics.samples_received.labels(sender.source).inc(len(columns))
        taken_ns = time.time_ns()
        boot, seq = number or live.own_number()
        newest_ns = float(columns.t.max()) * MS
        self._tracing.span("received", live.session.id, (boot, seq), newest_ns, samples=len(columns))

        def done() -> None:
            self._tracing.span("stored", live.session.id, (boot, seq), taken_ns)
            if number is not None:
                live.mark_stored(*number)
                sender.ack(*number)

        self._store.submit(
            Entry(session=live.session.id, done=done, columns=columns, boot=boot, seq=seq, clock=batch.clock)
        )
        if present and self.feed.shows(sender.source):
            live.show(columns, batch.clock.error_ms if batch.clock else None)
            self._tracing.span("shown", live.session.id, (boot, seq), taken_ns, viewers=len(live.room.members))
            self.feed.share(live, msgspec.structs.replace(envelope, session=live.session.id, boot=boot, seq=seq))

    def describe(self, live: Live, done: Callable[[], None], **changes: Any) -> None:
        """Put what was learnt of a session (device, unit, sensor, start) into its row."""
        bounded: dict[str, Any] = {k: v[:512] if isinstance(v, str) else v for k, v in changes.items()}
        live.become(replace(live.session, **bounded))

        def stored() -> None:
            self.feed.changed(live)
            done()

        self._store.submit(Entry(session=live.session.id, done=stored, put=live.session))

    def ended(self, live: Live, at_ms: float, done: Callable[[], None]) -> Entry:
        """The entry that ends a session; the first end counts, everybody hears of it once."""
        first = live.session.ended_at_ms is None
        if first:
            live.session = replace(live.session, ended_at_ms=at_ms)

        def stored() -> None:
            if first:
                live.announce("session_ended")
                self.feed.changed(live)
                log.info("session_ended", session=live.session.id)
            done()

        return Entry(session=live.session.id, done=stored, ended_at_ms=at_ms)

    async def _committed(self, entry: Callable[[Callable[[], None]], Entry]) -> None:
        committed = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not committed.done():
                committed.set_result(None)

        self._store.submit(entry(done))
        await self._store.told(committed)


def canonical(session_id: str) -> str:
    """A session's id as stored; InvalidMessage when it is no UUID."""
    try:
        return str(uuid.UUID(session_id))
    except (ValueError, AttributeError, TypeError):
        raise InvalidMessage("A session's id is a UUID") from None


def _nothing() -> None:
    """For entries nobody waits for."""
