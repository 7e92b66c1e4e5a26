"""The exercises as numbers: which joint is measured, where a repetition turns and where it ends.

Angles in degrees, times in ms. A squat must bend below 105 and counts on its return above 130; with two limits, small
movements around one of them never count as repetitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exercise:
    """`joint` is measured on both sides. A repetition must pass `turn` and ends at `rest`.

    turn < rest: the joint bends and straightens (squat). turn > rest: it opens and closes (shoulder raise). `lean`:
    another joint and the least angle allowed there. `hold`: the band (low, high) of a static exercise, which has no
    repetitions.
    """

    joint: str
    turn: float
    rest: float
    apart_ms: float = 800.0
    slowest_ms: float = 15_000.0
    fastest_phase_ms: float = 400.0
    lean: tuple[str, float] | None = None
    hold: tuple[float, float] | None = None

    @property
    def bends(self) -> bool:
        return self.turn < self.rest


EXERCISES: Mapping[str, Exercise] = {
    "squat": Exercise("knee", turn=105, rest=130, lean=("hip", 50)),
    "squat_front": Exercise("knee", turn=105, rest=130, lean=("hip", 65)),
    "shoulder_raise": Exercise("shoulder", turn=80, rest=40),
    "glute_bridge": Exercise("hip", turn=165, rest=140),
    "wall_sit": Exercise("knee", turn=105, rest=130, hold=(75, 105)),
}
