"""The rules of a heart session, pure: who is patient, who is viewer, and the live line.

Time is passed as an argument; nothing here knows a socket, a broker or a database.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from core.contracts.scg import Columns
from core.signals.resample import Resampled, Resampler

EPOCH_PLAUSIBLE_MS = 86_400_000.0
"""Times within a day of the relay's clock are epoch times and have a delay; others are relative to a page's start."""


class Part(StrEnum):
    """What a socket said it is (`?role=`), or UNKNOWN."""

    PATIENT = "patient"
    VIEWER = "viewer"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Who is in a session's room on another relay."""

    viewers: int = 0
    patient: bool = False
    boot: str | None = None


@dataclass(slots=True)
class Presence:
    """Who is in a session's room. There is at most one patient: a socket or a kit.

    `elsewhere` holds what each other relay of a cluster last said of its own room.
    """

    patient: object | None = None
    viewers: int = 0
    unknown: int = 0
    patient_known: bool = False
    boot: str | None = None
    elsewhere: dict[str, Elsewhere] = field(default_factory=dict)

    @property
    def viewers_here(self) -> int:
        """Viewers on this relay. Until a patient is known, one socket without a role is assumed to be the patient."""
        assumed = self.unknown if self.patient_known else max(self.unknown - 1, 0)
        return self.viewers + assumed

    @property
    def viewer_count(self) -> int:
        return self.viewers_here + sum(other.viewers for other in self.elsewhere.values())

    @property
    def measured(self) -> bool:
        """Whether there is a patient, on any relay."""
        return self.patient is not None or any(other.patient for other in self.elsewhere.values())

    def heard(self, relay: str, said: Elsewhere | None) -> list[str]:
        """Another relay's room has changed, or the relay is gone (None). Returns the statuses to announce here."""
        viewers, measured = self.viewer_count, self.measured
        if said is None:
            self.elsewhere.pop(relay, None)
        else:
            self.elsewhere[relay] = said
            self.patient_known = self.patient_known or said.patient
        changes = []
        if self.measured != measured:
            changes.append("patient_connected" if self.measured else "patient_disconnected")
        if self.viewer_count != viewers:
            changes.append("viewer_connected" if self.viewer_count > viewers else "viewer_disconnected")
        return changes

    def join(self, who: object, part: Part) -> str | None:
        """The status to announce, or None: the first socket without a role may be the patient."""
        if part is Part.PATIENT and not self.measured:
            self.seat(who)
            return "patient_connected"
        if part is Part.VIEWER:
            self.viewers += 1
            return "viewer_connected"
        self.unknown += 1
        return "viewer_connected" if self.viewer_count else None

    def claim(self, who: object, part: Part, boot: str | None = None) -> bool:
        """`who` sends samples: whether it is the patient, or may become the patient now.

        A phone that lost its network returns on a new socket before the old one is noticed as dead. The same `boot` is
        the same patient, so the new socket takes the place over.
        """
        if self.patient is who:
            self.boot = boot or self.boot
            return True
        known = {self.boot} | {other.boot for other in self.elsewhere.values() if other.patient}
        returned = boot is not None and boot in known
        if part is Part.VIEWER or (self.measured and not returned):
            return False
        if self.patient is None:
            self.unknown = max(self.unknown - 1, 0)
        self.seat(who)
        self.boot = boot
        return True

    def seat(self, who: object) -> None:
        """Make `who` the patient."""
        self.patient = who
        self.patient_known = True

    def leave(self, who: object, part: Part) -> str:
        if self.patient is who:
            self.patient = None
            return "patient_disconnected"
        if part is Part.VIEWER:
            self.viewers -= 1
        else:
            self.unknown = max(self.unknown - 1, 0)
        return "viewer_disconnected"


@dataclass(slots=True)
class Line:
    """The live line of a watched session: the resampler, and the last `backlog_ms` of its grid for later viewers."""

    backlog_ms: float
    resampler: Resampler = field(default_factory=Resampler)
    _t: deque[NDArray[np.int64]] = field(default_factory=deque)
    _az: deque[NDArray[np.float64]] = field(default_factory=deque)

    def feed(self, columns: Columns, now_ms: float) -> Resampled:
        return self._keep(self.resampler.push(columns.t, columns.az, now_ms))

    def flush(self, now_ms: float) -> Resampled:
        return self._keep(self.resampler.flush(now_ms))

    def backlog(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if not self._t:
            return np.empty(0, np.int64), np.empty(0, np.float64)
        return np.concatenate(self._t), np.concatenate(self._az)

    def _keep(self, fresh: Resampled) -> Resampled:
        if len(fresh.t):
            self._t.append(fresh.t)
            self._az.append(fresh.values)
            oldest = fresh.t[-1] - self.backlog_ms
            while self._t[0][-1] < oldest:
                self._t.popleft()
                self._az.popleft()
        return fresh


def rate_hz(t: NDArray[np.float64]) -> float:
    """Average sensor rate of sorted times in ms, gaps left out. 0 when fewer than two times differ."""
    steps = np.diff(t)
    if not len(steps) or t[-1] <= t[0]:
        return 0.0
    usual = float(np.median(steps))
    if usual <= 0:
        return len(steps) * 1000.0 / float(t[-1] - t[0])
    within = steps[steps <= max(3 * usual, 100.0)]
    return len(within) * 1000.0 / float(within.sum())


def delay_ms(newest_t: float, now_ms: float) -> float | None:
    """How late the newest sample arrived, in ms; None when its time is no epoch time."""
    late = now_ms - newest_t
    return late if abs(late) < EPOCH_PLAUSIBLE_MS else None
