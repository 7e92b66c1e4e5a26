"""Findings on an exercise: issues with their times, a score, tempo, left against right, and holding time.

Only repetitions and attempts are judged: somebody standing still is never told to go deeper. Every limit is named here;
each issue gives its time (`t_ms`) and phase.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.motion.exercises import EXERCISES, Exercise
from core.motion.reps import LONGEST_GAP_MS, Phase, Repetition, repetitions

UNEVEN, VERY_UNEVEN = 15.0, 25.0
"""Difference between left and right at one moment of a movement, in degrees; less could be error of the camera."""
SHALLOW_BY_MUCH = 15.0
HIDDEN_MS = 1_000.0
ATTEMPT_FROM = 8.0
"""Degrees by which a movement must leave `rest` to count as an attempt, whose depth is judged."""
PENALTY = {"LOW": 0.05, "MEDIUM": 0.12, "HIGH": 0.25}
Series = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Issue:
    """A finding in the document's terms; `joint` includes the side where only one is meant."""

    t_ms: float
    type: str
    severity: str
    message: str
    phase: Phase
    joint: str | None = None


@dataclass(frozen=True, slots=True)
class Movement:
    """The result for one exercise.

    `balance`: (left - right) / larger range, in percent; None if only one side was seen.
    """

    repetitions: tuple[Repetition, ...]
    attempts: tuple[Repetition, ...]
    issues: tuple[Issue, ...]
    score: float | None
    tempo_ms: tuple[float, float] | None
    balance: float | None
    held_ms: float | None


def analyse(name: str, t_ms: Series, angles: Mapping[str, Series]) -> Movement:
    """Analyse the exercise `name`: `t_ms` [n] ascending frame times; `angles` [n] in degrees by joint, NaN where not
    seen.

    For an exercise without rules here, there are no repetitions and no issues.
    """
    exercise = EXERCISES.get(name)
    if exercise is None or len(t_ms) == 0:
        return Movement((), (), (), None, None, None, None)
    left, right = (angles.get(f"{exercise.joint}_{side}", np.full(len(t_ms), np.nan)) for side in ("left", "right"))
    both = _mean(left, right)
    if exercise.hold is not None:
        return _held(exercise, t_ms, both, left, right)
    found = repetitions(exercise, zip(t_ms.tolist(), both.tolist(), strict=True))
    reps = tuple(rep for rep in found if rep.reached)
    attempts = tuple(rep for rep in found if not rep.reached and abs(rep.extreme - exercise.rest) >= ATTEMPT_FROM)
    issues = [*_depth(exercise, attempts), *_hidden(exercise, t_ms, both)]
    for rep in reps + attempts:
        inside = (t_ms >= rep.start_ms) & (t_ms <= rep.end_ms)
        issues += _uneven(exercise, t_ms[inside], left[inside], right[inside])
        issues += _tempo(exercise, rep) + _lean(exercise, rep, t_ms, angles)
    ordered = tuple(sorted(issues, key=lambda issue: issue.t_ms))
    score = _score(ordered, len(reps) + len(attempts))
    return Movement(reps, attempts, ordered, score, _pace(reps), _balance(left, right), None)


def _mean(left: Series, right: Series) -> Series:
    """The mean of both sides, or the one that was seen."""
    return np.where(np.isnan(left), right, np.where(np.isnan(right), left, (left + right) / 2))


def _depth(exercise: Exercise, attempts: Sequence[Repetition]) -> list[Issue]:
    words = "Go deeper" if exercise.bends else "Go further"
    return [
        Issue(
            attempt.turn_ms,
            "DEPTH_WARNING",
            "MEDIUM" if abs(attempt.extreme - exercise.turn) >= SHALLOW_BY_MUCH else "LOW",
            f"{words}: the {exercise.joint} turned at {attempt.extreme:.0f} degrees, {exercise.turn:.0f} is the aim",
            Phase.TURN,
        )
        for attempt in attempts
    ]


def _hidden(exercise: Exercise, t_ms: Series, both: Series) -> list[Issue]:
    """Periods in which the joint was hidden for so long that a repetition may have been missed."""
    seen = t_ms[np.isfinite(both)]
    edges = np.concatenate(([t_ms[0]], seen, [t_ms[-1]]))
    gaps = np.diff(edges)
    text = f"The {exercise.joint} was not seen; repetitions may be missing"
    return [
        Issue(float(edges[at]), "VISIBILITY_WARNING", "MEDIUM", text, Phase.REST, exercise.joint)
        for at in np.flatnonzero(gaps > HIDDEN_MS)
        if np.isnan(both[(t_ms >= edges[at]) & (t_ms <= edges[at + 1])]).any()
    ]


def _uneven(exercise: Exercise, t_ms: Series, left: Series, right: Series) -> list[Issue]:
    apart = np.abs(left - right)
    if not np.isfinite(apart).any():
        return []
    at = int(np.nanargmax(apart))
    worst = float(apart[at])
    if worst < UNEVEN:
        return []
    side = "left" if (left[at] < right[at]) == exercise.bends else "right"
    text = f"Left and right {exercise.joint} differ by {worst:.0f} degrees; the {side} goes further"
    severity = "HIGH" if worst >= VERY_UNEVEN else "MEDIUM"
    return [Issue(float(t_ms[at]), "ASYMMETRY_WARNING", severity, text, Phase.TURN, f"{exercise.joint}_{side}")]


def _tempo(exercise: Exercise, rep: Repetition) -> list[Issue]:
    if rep.going_ms >= exercise.fastest_phase_ms or not rep.reached:
        return []
    text = f"Slower on the way there: it took {rep.going_ms / 1000:.1f} s"
    return [Issue(rep.start_ms, "TEMPO_WARNING", "LOW", text, Phase.GOING)]


def _lean(exercise: Exercise, rep: Repetition, t_ms: Series, angles: Mapping[str, Series]) -> list[Issue]:
    if exercise.lean is None:
        return []
    joint, least = exercise.lean
    at = int(np.argmin(np.abs(t_ms - rep.turn_ms)))
    sides = [float(angles[key][at]) for key in (f"{joint}_left", f"{joint}_right") if key in angles]
    seen = [value for value in sides if math.isfinite(value)]
    if not seen or min(seen) >= least:
        return []
    text = f"Keep the trunk more upright: the {joint} closed to {min(seen):.0f} degrees"
    return [Issue(rep.turn_ms, "ANGLE_WARNING", "MEDIUM", text, Phase.TURN, joint)]


def _held(exercise: Exercise, t_ms: Series, both: Series, left: Series, right: Series) -> Movement:
    """A static exercise: how long the joint stayed in its band, not counting gaps."""
    assert exercise.hold is not None
    low, high = exercise.hold
    inside = (both >= low) & (both <= high)
    steps = np.diff(t_ms)
    held = float(steps[(inside[:-1] & inside[1:]) & (steps <= LONGEST_GAP_MS)].sum())
    issues = tuple(_uneven(exercise, t_ms[inside], left[inside], right[inside])) if inside.any() else ()
    score = _score(issues, 1) if held else None
    return Movement((), (), issues, score, None, _balance(left[inside], right[inside]), held)


def _pace(reps: Sequence[Repetition]) -> tuple[float, float] | None:
    """Median durations in ms: to the turn, and back."""
    if not reps:
        return None
    return float(np.median([rep.going_ms for rep in reps])), float(np.median([rep.returning_ms for rep in reps]))


def _balance(left: Series, right: Series) -> float | None:
    if not (np.isfinite(left).any() and np.isfinite(right).any()):
        return None
    ranges = [float(np.nanmax(side) - np.nanmin(side)) for side in (left, right)]
    larger = max(ranges)
    return round(100 * (ranges[0] - ranges[1]) / larger, 1) if larger > 0 else 0.0


def _score(issues: Sequence[Issue], movements: int) -> float | None:
    """1 minus the penalties of all issues per movement, at least 0; None without movements."""
    if movements == 0:
        return None
    return round(max(0.0, 1 - sum(PENALTY[issue.severity] for issue in issues) / movements), 3)
