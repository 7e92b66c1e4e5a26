"""What the retention policy says about a recording, and how a recording is thinned. Pure; times are epoch ms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from core.contracts.scg import Columns

DAY_MS = 86_400_000.0
EPOCH_MS = 1e11
"""Sample times above this are epoch ms (1973); smaller ones count from the recording's beginning."""


class Fate(StrEnum):
    KEEP = "keep"
    HELD = "held"
    UNREVIEWED = "unreviewed"
    THIN = "thin"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Policy:
    """Days after a recording's end; 0 means never.

    `spare_days`: how much longer a recording that awaits review is kept.
    """

    remove_days: float = 0.0
    thin_days: float = 0.0
    thin_hz: float = 25.0
    spare_days: float = 0.0

    @property
    def active(self) -> bool:
        return bool(self.remove_days or self.thin_days)


@dataclass(frozen=True, slots=True)
class Recording:
    """`newest_t` is the time of its last sample, by the sender's clock.

    `awaits`: [from, to] of its kit's exercises that nobody has reviewed; `to` is None while the kit is assigned.
    """

    id: str
    started_ms: float
    ended_ms: float | None
    newest_t: float | None
    thinned_hz: float | None = None
    held: bool = False
    awaits: tuple[tuple[float, float | None], ...] = ()

    @property
    def last_ms(self) -> float:
        """When it ended or was last added to, for `/end` may never have been called."""
        t = self.newest_t or 0.0
        return max(self.started_ms, self.ended_ms or 0.0, t if t > EPOCH_MS else self.started_ms + max(t, 0.0))

    @property
    def awaits_review(self) -> bool:
        return any(begin <= self.last_ms and (end is None or end >= self.started_ms) for begin, end in self.awaits)


def fate(recording: Recording, policy: Policy, now_ms: float) -> Fate:
    """What the policy says now. A recording that is held, or awaits review, is neither removed nor thinned."""
    age = now_ms - recording.last_ms
    remove = bool(policy.remove_days) and age > policy.remove_days * DAY_MS
    thinned = recording.thinned_hz is not None and recording.thinned_hz <= policy.thin_hz
    thin = bool(policy.thin_days) and age > policy.thin_days * DAY_MS and not thinned
    if not (remove or thin):
        return Fate.KEEP
    if recording.held:
        return Fate.HELD
    if recording.awaits_review:
        due = policy.remove_days if remove else policy.thin_days
        if not policy.spare_days or age <= (due + policy.spare_days) * DAY_MS:
            return Fate.UNREVIEWED
    return Fate.REMOVE if remove else Fate.THIN


def thinned(columns: Columns, hz: float) -> Columns:
    """Means over steps of 1/`hz` s of the sender's clock; a step without a finite sample gives none.

    Averaging is the low-pass filter (a boxcar, first zero at `hz`). The time is the mean of the samples' times, so
    nothing shifts. Samples thinned to this rate before are returned unchanged.
    """
    order = columns.t.argsort(kind="stable")
    rows = np.stack([columns.t, columns.ax, columns.ay, columns.az])[:, order]
    rows = rows[:, np.isfinite(rows).all(axis=0)]
    if not rows.shape[1]:
        return Columns(*(np.empty(0) for _ in range(4)))
    steps = np.floor(rows[0] * hz / 1000)
    first = np.flatnonzero(np.diff(steps, prepend=-np.inf))
    counts = np.diff(first, append=rows.shape[1])
    t, ax, ay, az = np.add.reduceat(rows, first, axis=1) / counts
    return Columns(t=t, ax=ax, ay=ay, az=az)


def due(recordings: Iterable[Recording], policy: Policy, now_ms: float) -> list[tuple[Recording, Fate]]:
    found = ((one, fate(one, policy, now_ms)) for one in recordings)
    return [(one, what) for one, what in found if what is not Fate.KEEP]
