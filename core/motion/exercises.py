"""The exercises by the numbers that define them: which joint tells, where a repetition turns and where it counts.

Angles in degrees, times in ms. A squat bottoms below 105 and counts on its return above 130, so that small movements
around one limit are never two repetitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exercise:
    """`joint` is measured on both sides. `turn` is what a repetition must reach, `rest` where it ends.

    turn < rest: the joint bends and straightens (squat). turn > rest: it opens and closes (shoulder raise).
    `hold` is the band (low, high) of a static exercise, which has no repetitions.
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
