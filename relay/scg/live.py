"""A heart session in memory: its room, its patient and, while somebody watches, the resampled live line.

While nobody watches, nothing is resampled: samples are stored, and the last seconds kept for whoever comes later.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from core.contracts import scg
from core.contracts.columns import join
from core.contracts.seq_ranges import SeqRanges
from core.signals.resample import Resampled
from relay.clock import Clock
from relay.errors import SessionTaken
from relay.process.metrics import Metrics
from relay.rooms import EVERYONE, WATCHERS, Audience, Member, Room
from relay.scg.entries import Session
from relay.scg.rules import Line, Presence, delay_ms

if TYPE_CHECKING:
    from core.signals.heart_rate import Analysis, HeartTracker

STANDARD_GRAVITY = 9.80665
"""m/s² in one g (CGPM 1901)."""
MAX_RECENT_BATCHES = 5_000
"""Most batches kept for the backlog, so that a sender of tiny batches cannot make it large."""
SILENT_MS = 3_000.0
"""After this long without a live sample no heart rate is given, whatever the last samples held."""
MOST_AHEAD_MS = 120_000.0
"""A viewer that claims to have seen further beyond the line than this has another clock, and is not held back."""

CROWD = 20
"""In a larger room, viewers coming and going are announced together; the last count announced is right."""
REST_MS = 0.5
"""Rest between two such announcements per member beyond CROWD, so that they take a few percent of a relay's time."""
OF_VIEWERS = ("viewer_connected", "viewer_disconnected")


@dataclass(eq=False)
class Live:
    """One session that is, or lately was, measured or watched. Everything here runs on the event loop."""

    session: Session
    room: Room
    clock: Clock
    metrics: Metrics
    backlog_ms: float
    taken: dict[str, SeqRanges] = field(default_factory=dict)
    stored: dict[str, SeqRanges] = field(default_factory=dict)
    presence: Presence = field(default_factory=Presence)
    recent: deque[scg.Columns] = field(default_factory=deque)
    line: Line | None = None
    tracker: HeartTracker | None = None
    newest_at_ms: float = 0.0
    heard_at_ms: float = -math.inf
    late_ms: float | None = None
    clock_error_ms: float | None = None
    shift_ms: float = 0.0
    flush: asyncio.TimerHandle | None = None
    announced_ms: float = -math.inf
    announcement: asyncio.TimerHandle | None = None
    ahead: dict[Member, float] = field(default_factory=dict)
    own_boot: str = field(default_factory=lambda: uuid4().hex)
    own_seq: int = 0

    def own_number(self) -> tuple[str, int]:
        """A number for a message sent without one, so that it too is stored once even if its commit is tried again."""
        self.own_seq += 1
        return self.own_boot, self.own_seq

    @property
    def settled(self) -> bool:
        """Everything taken in is committed."""
        return all(boot in self.stored and self.stored[boot] == taken for boot, taken in self.taken.items())

    @property
    def watched(self) -> bool:
        return any(member.audience in WATCHERS for member in self.room)

    @property
    def analysed(self) -> bool:
        return self.line is not None and any(member.audience is Audience.ANALYST for member in self.room)

    def must_be_browsers(self) -> None:
        """Raises SessionTaken when a kit measures: a second source would mix two people's hearts in one line."""
        if self.session.kit is not None:
            raise SessionTaken("A kit measures this session, and nobody else may; begin another")

    def announce(self, status: str) -> None:
        """Send a status to the room. In a crowd, viewers coming and going share one delayed announcement."""
        rest_ms = max(0, len(self.room.members) - CROWD) * REST_MS if status in OF_VIEWERS else 0.0
        due_ms = self.announced_ms + rest_ms
        if self.announcement is not None:
            self.announcement.cancel()
            self.announcement = None
        if (wait_ms := due_ms - self.clock.monotonic_ms()) > 0:
            self.announcement = asyncio.get_running_loop().call_later(wait_ms / 1000, self._announce, status)
        else:
            self._announce(status)

    def _announce(self, status: str) -> None:
        self.announcement, self.announced_ms = None, self.clock.monotonic_ms()
        self.room.publish(scg.status_update(status, self.presence.viewer_count), EVERYONE)

    def first_taken(self, boot: str, seq: int) -> bool:
        """Count a message as taken in; False when it was before."""
        return self.taken.setdefault(boot, SeqRanges()).add(seq)

    def is_stored(self, boot: str, seq: int) -> bool:
        return boot in self.stored and seq in self.stored[boot]

    def mark_stored(self, boot: str, seq: int) -> None:
        self.stored.setdefault(boot, SeqRanges()).add(seq)

    # -- the line ------------------------------------------------------------------------------------------------

    def show(self, columns: scg.Columns, clock_error_ms: float | None) -> None:
        """Show a live batch: keep it for viewers who come later, and send its grid points to those who are here."""
        now_ms = self.clock.monotonic_ms()
        newest_t = float(columns.t.max())
        self.newest_at_ms = self.heard_at_ms = now_ms
        self.late_ms = delay_ms(newest_t, self.clock.now_ms())
        self.clock_error_ms = clock_error_ms
        self.recent.append(columns)
        while self.recent[0].t[-1] < newest_t - self.backlog_ms or len(self.recent) > MAX_RECENT_BATCHES:
            self.recent.popleft()
        if self.line is not None:
            self._emit(self.line.feed(columns, now_ms))

    @property
    def newest_t(self) -> float | None:
        """Time of the newest sample that was shown, or is kept to be shown."""
        return float(self.recent[-1].t.max()) if self.recent else None

    def prime(self, columns: scg.Columns) -> None:
        """Set the last seconds from the database, on a relay that did not take them in itself."""
        self.recent.clear()
        self.recent.append(columns)

    def start_line(self) -> None:
        """Start resampling, beginning with the samples of the last seconds."""
        self.line = Line(backlog_ms=self.backlog_ms)
        self.tracker = None
        if self.recent:
            self.line.feed(join(list(self.recent)), self.clock.monotonic_ms())
            self._arm_flush()

    def stop_line(self) -> None:
        self.line = None
        self._arm_flush()

    def backlog(self, after: float | None = None) -> bytes | None:
        """The first message for a new viewer, an interpolated_batch; a returning one gets only what follows `after`."""
        t, az = self.line.backlog() if self.line is not None else (np.empty(0, np.int64), np.empty(0))
        if after is not None:
            t, az = t[t > after], az[t > after]
        return scg.interpolated_batch(t, az) if len(t) else None

    def wait_for(self, member: Member, after: float) -> None:
        """Hold back a viewer that saw more on another relay than this one has, so that it sees nothing twice."""
        newest = self.line.backlog()[0] if self.line is not None else np.empty(0, np.int64)
        if not len(newest) or 0 < after - newest[-1] < MOST_AHEAD_MS:
            self.room.hold(member)
            self.ahead[member] = after

    def _emit_to_those_ahead(self, fresh: Resampled) -> None:
        for member, after in tuple(self.ahead.items()):
            beyond = (fresh.t > after) | (after - fresh.t > MOST_AHEAD_MS)
            if beyond.any():
                del self.ahead[member]
                if member in self.room.members:
                    self.room.send(member, scg.interpolated_batch(fresh.t[beyond], fresh.values[beyond]))
                    self.room.release(member)

    def _emit(self, fresh: Resampled) -> None:
        self.shift_ms = fresh.shift_ms
        for hole in fresh.gaps:
            self.metrics.gaps.inc()
            self.room.publish(scg.gap(hole.from_ms, hole.to_ms), WATCHERS)
        if len(fresh.t):
            self.metrics.points_sent.inc(len(fresh.t))
            self.room.publish(scg.interpolated_batch(fresh.t, fresh.values), WATCHERS)
            if self.ahead:
                self._emit_to_those_ahead(fresh)
        self._arm_flush()

    def _arm_flush(self) -> None:
        if self.flush is not None:
            self.flush.cancel()
            self.flush = None
        due = self.line.resampler.deadline_ms if self.line is not None else None
        if due is not None:
            wait_s = max(0.0, due - self.clock.monotonic_ms()) / 1000
            self.flush = asyncio.get_running_loop().call_later(wait_s, self._flush)

    def _flush(self) -> None:
        if self.line is not None:
            self._emit(self.line.flush(self.clock.monotonic_ms()))

    # -- beyond the OpenSCG document: only for those who asked ---------------------------------------------------

    async def analyse(self) -> None:
        """Send the heart rate of the last seconds, or the reason for none, to the members who asked for analysis."""
        assert self.line is not None
        t, az = self.line.backlog()
        if self.session.unit == "g":
            az = az * STANDARD_GRAVITY
        heard = self.clock.monotonic_ms() - self.heard_at_ms <= SILENT_MS
        of_now = slice(None if heard else 0)
        found, tracker = await asyncio.to_thread(_analyse, t[of_now], az[of_now], self.tracker)
        self.tracker = tracker
        reading = tracker.update(found, self.clock.monotonic_ms())
        rate = {
            "bpm": reading.bpm,
            "quality": reading.quality,
            "reason": reading.reason.value,
            "beatMs": reading.beat_ms,
            "beatSdMs": reading.beat_sd_ms,
        }
        payload = {
            "t": int(t[-1]) if len(t) else None,
            "heartRate": rate,
            "breathing": {"perMinute": found.breathing_per_minute},
            "motion": [[int(start), int(end)] for start, end in found.motion],
            "serverTime": self.clock.now_ms(),
            "delayMs": self._delay_ms(),
            "clockErrorMs": self.clock_error_ms,
            "shiftMs": self.shift_ms,
        }
        self.room.publish(scg.message("analysis", payload), (Audience.ANALYST,))

    def _delay_ms(self) -> float | None:
        silent_ms = self.clock.monotonic_ms() - self.newest_at_ms
        return None if self.late_ms is None else self.late_ms + silent_ms

    def become(self, session: Session) -> None:
        """Replace the session's row, and tell the members who asked for analysis."""
        self.session = session
        self.room.publish(self.info(), (Audience.ANALYST,))

    def info(self) -> bytes:
        session = self.session
        payload = {
            **self.summary(),
            "serverTime": self.clock.now_ms(),
            "device": {"userAgent": session.user_agent, "platform": session.platform},
            "unit": session.unit,
            "sensor": session.sensor,
            "kit": session.kit,
            "clockErrorMs": self.clock_error_ms,
        }
        return scg.message("session_info", payload)

    def summary(self) -> dict[str, Any]:
        present = self.presence.measured
        return {
            **summary(self.session),
            "live": present and self.session.ended_at_ms is None,
            "patientConnected": present,
            "viewerCount": self.presence.viewer_count,
        }


def _analyse(
    t: NDArray[np.int64], az: NDArray[np.float64], tracker: HeartTracker | None
) -> tuple[Analysis, HeartTracker]:
    """Imported here, in the worker thread of the first analysis: scipy.signal takes a third of a relay's start time."""
    from core.signals.heart_rate import HeartTracker, analyse

    return analyse(t, az), tracker or HeartTracker()


def summary(session: Session) -> dict[str, Any]:
    """One line of the list of sessions, as if nobody were in the session."""
    ended = {} if session.ended_at_ms is None else {"endedAt": scg.iso(session.ended_at_ms)}
    return {
        "sessionId": session.id,
        "startedAt": scg.iso(session.started_at_ms),
        **ended,
        "live": False,
        "patientConnected": False,
        "viewerCount": 0,
        "source": f"kit {session.kit}" if session.kit else "browser",
    }
