"""Repetitions counted from one angle over time, with two limits so that noise around one of them counts nothing.

Each value carries its time, so frame rates may vary and frames may be missing. A gap of more than LONGEST_GAP_MS ends
the current movement without counting it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from core.motion.exercises import Exercise

LONGEST_GAP_MS = 1_500.0


class Phase(StrEnum):
    """Part of a movement. `REST` is outside any movement, where nothing is judged."""

    REST = "rest"
    GOING = "going"
    TURN = "turn"
    RETURNING = "returning"


@dataclass(frozen=True, slots=True)
class Repetition:
    """One movement there and back. `reached` is False for an attempt that turned before the exercise's limit.

    `extreme` is the furthest angle in degrees, at `turn_ms`; start and end are the crossings of the rest limit.
    """

    start_ms: float
    turn_ms: float
    end_ms: float
    extreme: float
    reached: bool

    @property
    def going_ms(self) -> float:
        return self.turn_ms - self.start_ms

    @property
    def returning_ms(self) -> float:
        return self.end_ms - self.turn_ms


class RepCounter:
    """Push (t, angle) in order of time; a repetition or attempt is returned when it has ended."""

    def __init__(self, exercise: Exercise) -> None:
        self._exercise = exercise
        self._sign = 1.0 if exercise.bends else -1.0
        self._last_ms: float | None = None
        self._counted_ms: float | None = None
        self._start_ms: float | None = None
        self._extreme = 0.0
        self._turn_ms = 0.0
        self.phase = Phase.REST
        self.count = 0

    def push(self, t_ms: float, angle: float) -> Repetition | None:
        """NaN means that the joint was not seen in this frame; a time that does not advance is ignored."""
        if angle != angle or (self._last_ms is not None and t_ms <= self._last_ms):
            return None
        if self._last_ms is not None and t_ms - self._last_ms > LONGEST_GAP_MS:
            self._start_ms, self.phase = None, Phase.REST
        self._last_ms = t_ms
        depth, rest = self._sign * angle, self._sign * self._exercise.rest
        if depth > rest:
            return self._resting(t_ms)
        if self._start_ms is None:
            self._start_ms, self._extreme, self._turn_ms = t_ms, depth, t_ms
        if depth < self._extreme:
            self._extreme, self._turn_ms = depth, t_ms
        self.phase = self._phase(t_ms, depth)
        return None

    def _phase(self, t_ms: float, depth: float) -> Phase:
        if depth < self._sign * self._exercise.turn:
            return Phase.TURN
        return Phase.GOING if t_ms == self._turn_ms else Phase.RETURNING

    def _resting(self, t_ms: float) -> Repetition | None:
        self.phase = Phase.REST
        if self._start_ms is None:
            return None
        start, self._start_ms = self._start_ms, None
        reached = self._extreme < self._sign * self._exercise.turn
        found = Repetition(start, self._turn_ms, t_ms, self._sign * self._extreme, reached)
        too_soon = self._counted_ms is not None and t_ms - self._counted_ms < self._exercise.apart_ms
        if t_ms - start > self._exercise.slowest_ms or (reached and too_soon):
            return None
        if reached:
            self._counted_ms = t_ms
            self.count += 1
        return found


def repetitions(exercise: Exercise, points: Iterable[tuple[float, float]]) -> list[Repetition]:
    """All repetitions and attempts in a series of (t in ms, angle in degrees)."""
    counter = RepCounter(exercise)
    return [found for t, angle in points if (found := counter.push(t, angle)) is not None]
