"""A heart session in memory: its room, who is patient, and, while somebody watches, its line on the grid.

Nobody watching means nothing is interpolated: samples are only kept for a late viewer's backlog, and stored.
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
"""Batches kept for a backlog at most: tiny batches must not cost more than the seconds they cover."""
SILENT_MS = 3_000.0
"""A heart rate is of now: after so long without a sample of the present there is none, whatever the last ones held."""
MOST_AHEAD_MS = 120_000.0
"""A viewer further ahead of the line than this has another clock, or another line, in mind."""

CROWD = 20
"""In a room of more, viewers who come and go are announced together; the count is right in the end."""
REST_MS = 0.5
"""Between two such announcements, for each beyond CROWD: all of them cost a few hundredths of a relay's time."""
OF_VIEWERS = ("viewer_connected", "viewer_disconnected")


@dataclass(eq=False)
class Live:
    """One session somebody measures or watches, or did a moment ago. All of it runs on the event loop."""

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
        """A number for a message whose sender gave none, so that it too is stored once, whatever a commit comes to."""
        self.own_seq += 1
        return self.own_boot, self.own_seq

    @property
    def settled(self) -> bool:
        """Everything taken is committed."""
        return all(boot in self.stored and self.stored[boot] == taken for boot, taken in self.taken.items())

    @property
    def watched(self) -> bool:
        return any(member.audience in WATCHERS for member in self.room)

    @property
    def analysed(self) -> bool:
        return self.line is not None and any(member.audience is Audience.ANALYST for member in self.room)

    def must_be_browsers(self) -> None:
        """Raises SessionTaken where a kit measures: two sources on one line would be one heart of two people."""
        if self.session.kit is not None:
            raise SessionTaken("A kit measures this session, and nobody else may; begin another")

    def announce(self, status: str) -> None:
        """To everyone. In a crowd, where each who comes or goes would be told to all, viewers are told together."""
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
        """Count a message in; False when it came before."""
        return self.taken.setdefault(boot, SeqRanges()).add(seq)

    def is_stored(self, boot: str, seq: int) -> bool:
        return boot in self.stored and seq in self.stored[boot]

    def mark_stored(self, boot: str, seq: int) -> None:
        self.stored.setdefault(boot, SeqRanges()).add(seq)

    # -- the line ------------------------------------------------------------------------------------------------

    def show(self, columns: scg.Columns, clock_error_ms: float | None) -> None:
        """Take a batch of the present: remember it for those who come late, and send its grid points to those here."""
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
        """Time of the newest sample that was shown or is ready to be."""
        return float(self.recent[-1].t.max()) if self.recent else None

    def prime(self, columns: scg.Columns) -> None:
        """The last seconds as the store has them, for a relay that did not take them itself."""
        self.recent.clear()
        self.recent.append(columns)

    def start_line(self) -> None:
        """Begin to put samples on the grid, from those of the last seconds on."""
        self.line = Line(backlog_ms=self.backlog_ms)
        self.tracker = None
        if self.recent:
            self.line.feed(join(list(self.recent)), self.clock.monotonic_ms())
            self._arm_flush()

    def stop_line(self) -> None:
        self.line = None
        self._arm_flush()

    def backlog(self, after: float | None = None) -> bytes | None:
        """What a late viewer gets first, as one documented message; one that comes back, what follows `after`."""
        t, az = self.line.backlog() if self.line is not None else (np.empty(0, np.int64), np.empty(0))
        if after is not None:
            t, az = t[t > after], az[t > after]
        return scg.interpolated_batch(t, az) if len(t) else None

    def wait_for(self, member: Member, after: float) -> None:
        """A viewer from another relay may have seen more than this one has: nothing is shown to it twice."""
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

    # -- for those who asked for more than the document ----------------------------------------------------------

    async def analyse(self) -> None:
        """Heart rate of the last seconds, or why there is none, to those who asked for it."""
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
        """What is known of the session has changed: whoever analyses it hears of that."""
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
    """Imported here, in the worker thread of the first analysis: scipy.signal is a third of a relay's start."""
    from core.signals.heart_rate import HeartTracker, analyse

    return analyse(t, az), tracker or HeartTracker()


def summary(session: Session) -> dict[str, Any]:
    """One line of the list of sessions, for a session nobody is in."""
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
