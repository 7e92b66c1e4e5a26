"""The rules of a physiotherapy session: running statistics of its frames, and which frames are new. Pure.

Statistics are computed from stored frames only; a summary given by the sender is never shown as measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from core.contracts.physio import Frame

EPOCH_FROM_MS = 100_000_000_000
"""Timestamps from this value on (March 1973) are epoch times and give the session its date; smaller ones are relative
to an unknown start.
"""
LONGEST_LINK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Spread:
    """Running minimum, maximum, sum and count of one joint's angle, in degrees."""

    low: float
    high: float
    total: float
    count: int

    def joined(self, other: Spread) -> Spread:
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Spread(low, high, self.total + other.total, self.count + other.count)

    @property
    def range(self) -> dict[str, float]:
        return {"min": self.low, "max": self.high, "avg": round(self.total / self.count, 4)}


@dataclass(frozen=True, slots=True)
class Statistics:
    """Running statistics of all stored frames of a session; `plus` returns them with further frames added."""

    frame_count: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    quality_sum: float = 0.0
    quality_count: int = 0
    angles: dict[str, Spread] = field(default_factory=dict)

    def plus(self, frames: Sequence[Frame]) -> Statistics:
        if not frames:
            return self
        angles = dict(self.angles)
        for joint, values in _by_joint(frames).items():
            spread = Spread(min(values), max(values), sum(values), len(values))
            angles[joint] = angles[joint].joined(spread) if joint in angles else spread
        qualities = [frame.quality_score for frame in frames if frame.quality_score is not None]
        times = [frame.timestamp for frame in frames]
        return replace(
            self,
            frame_count=self.frame_count + len(frames),
            first_ms=min(times) if self.first_ms is None else min(self.first_ms, *times),
            last_ms=max(times) if self.last_ms is None else max(self.last_ms, *times),
            quality_sum=self.quality_sum + sum(qualities),
            quality_count=self.quality_count + len(qualities),
            angles=angles,
        )

    @property
    def sampling_rate(self) -> float:
        """Frames per second between the first and the last frame; 0 for fewer than two."""
        if self.first_ms is None or self.last_ms is None or self.last_ms == self.first_ms:
            return 0.0
        return round((self.frame_count - 1) * 1000 / (self.last_ms - self.first_ms), 3)

    @property
    def average_quality(self) -> float | None:
        return round(self.quality_sum / self.quality_count, 4) if self.quality_count else None

    @property
    def began(self) -> datetime | None:
        return _moment(self.first_ms)

    @property
    def ended(self) -> datetime | None:
        return _moment(self.last_ms)

    @property
    def pose_data(self) -> dict[str, Any]:
        """The `pose_data` object of the physiotherapy document."""
        return {
            "frame_count": self.frame_count,
            "sampling_rate": _whole(self.sampling_rate),
            "angle_ranges": {joint: spread.range for joint, spread in sorted(self.angles.items())},
        }

    def row(self) -> dict[str, Any]:
        """The database row; `angles` is [low, high, total, count] per joint."""
        packed = {joint: [s.low, s.high, s.total, s.count] for joint, s in self.angles.items()}
        return {
            "frame_count": self.frame_count,
            "first_ms": self.first_ms,
            "last_ms": self.last_ms,
            "quality_sum": self.quality_sum,
            "quality_count": self.quality_count,
            "angles": packed,
        }

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> Statistics:
        angles = {joint: Spread(*packed) for joint, packed in (row.get("angles") or {}).items()}
        return cls(
            frame_count=row.get("frame_count") or 0,
            first_ms=row.get("first_ms"),
            last_ms=row.get("last_ms"),
            quality_sum=row.get("quality_sum") or 0.0,
            quality_count=row.get("quality_count") or 0,
            angles=angles,
        )


def _by_joint(frames: Sequence[Frame]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for frame in frames:
        for joint, value in (frame.angles or {}).items():
            values.setdefault(joint, []).append(value)
    return values


def fresh(frames: Iterable[Frame], stored: frozenset[int] | set[int]) -> list[Frame]:
    """The frames whose timestamp is not stored yet, ordered by time; of two with the same timestamp, the first."""
    by_time: dict[int, Frame] = {}
    for frame in frames:
        if frame.timestamp not in stored:
            by_time.setdefault(frame.timestamp, frame)
    return [by_time[time] for time in sorted(by_time)]


def links_expire(now: datetime, scheduled: datetime | None, hold: timedelta) -> datetime:
    """When an upload link expires: `hold` after the session's scheduled time (or after now, if later), but within a
    week.
    """
    begins = max(now, scheduled) if scheduled is not None else now
    return min(begins + hold, now + LONGEST_LINK)


def _moment(ms: int | None) -> datetime | None:
    if ms is None or not EPOCH_FROM_MS <= ms < 253_402_300_800_000:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC)


def _whole(value: float) -> float | int:
    return int(value) if value == int(value) else value
