"""The use cases of the OpenSCG document: create, find, list, end and export a session.

Knows neither HTTP nor SQL. A change is committed before it is answered; an export waits for all that was taken in.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import structlog

from core.contracts import scg
from core.contracts.session_object import full_session, samples_object
from relay.clock import Clock
from relay.errors import SessionNotFound
from relay.scg.entries import Entry, Session
from relay.scg.intake import Intake
from relay.scg.live import summary
from relay.scg.rules import rate_hz
from relay.scg.sessions import LiveSessions
from relay.scg.store import Store
from relay.scg.writer import Writer

OVER_AFTER_MS = 60_000.0

log = structlog.get_logger(__name__)


class ScgService:
    """Answers for sessions in memory from memory, for all others from the database."""

    def __init__(self, store: Store, writer: Writer, sessions: LiveSessions, intake: Intake, clock: Clock) -> None:
        self._store = store
        self._writer = writer
        self._sessions = sessions
        self._intake = intake
        self._clock = clock

    async def create(self, *, user_agent: str, platform: str) -> Session:
        """A new session, committed before this returns."""
        session = Session(
            id=str(uuid.uuid4()), started_at_ms=self._clock.now_ms(), user_agent=user_agent, platform=platform
        )
        await self._writer.committed(lambda done: Entry(session=session.id, done=done, put=session))
        log.info("session_created", session=session.id)
        return session

    async def find(self, session_id: str) -> Session:
        """The session as it stands. Raises SessionNotFound."""
        live = self._sessions.held(session_id)
        found = live.session if live else await self._store.session(session_id)
        if found is None:
            raise SessionNotFound("Session not found")
        return found

    async def recent(self, limit: int) -> list[dict[str, Any]]:
        """The newest sessions, and who is in them."""
        sessions = await self._store.recent(limit)
        return [live.summary() if (live := self._sessions.held(s.id)) else summary(s) for s in sessions]

    async def end(self, session_id: str) -> int:
        """End a session and announce it; returns the number of samples stored. Ending twice is no error."""
        live = await self._sessions.of(session_id)
        now_ms = self._clock.now_ms()
        await self._writer.committed(lambda done: self._intake.ended(live, now_ms, done))
        return await self._store.count(session_id)

    async def export(self, session_id: str, *, tuples: bool = False) -> Iterator[bytes]:
        """The Full Session Object in slices. Waits until everything taken in is committed."""
        session = await self.find(session_id)
        await self._writer.drained(session_id)
        columns = await self._store.samples(session_id, over=self._over(session))
        return full_session(_head(session, columns), columns, tuples=tuples)

    async def samples(self, session_id: str) -> Iterator[bytes]:
        """Only the samples of the Full Session Object."""
        session = await self.find(session_id)
        await self._writer.drained(session_id)
        return samples_object(b"{", await self._store.samples(session_id, over=self._over(session)))

    def _over(self, session: Session) -> bool:
        """Whether the session ended so long ago that a replica has all of it."""
        return session.ended_at_ms is not None and self._clock.now_ms() - session.ended_at_ms > OVER_AFTER_MS


def _head(session: Session, columns: scg.Columns | None) -> dict[str, Any]:
    """The Full Session Object without its samples."""
    head: dict[str, Any] = {"sessionId": session.id, "startedAt": scg.iso(session.started_at_ms)}
    if session.ended_at_ms is not None:
        head["endedAt"] = scg.iso(session.ended_at_ms)
    head["samplingRateHz"] = round(rate_hz(columns.t), 3) if columns is not None else 0.0
    head |= {"device": {"userAgent": session.user_agent, "platform": session.platform}, "unit": session.unit}
    if session.sensor:
        head["sensor"] = session.sensor
    if session.thinned_hz is not None:
        head["thinnedHz"] = session.thinned_hz
    return head
