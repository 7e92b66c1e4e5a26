"""From where the camera sees a body: how far it is turned away, which side is near, and which angles to believe.

World landmarks (metres, z away from the camera) in BlazePose's order. Facing the camera, or with the back to it, is
0 degrees; sideways is 90.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from core.motion.angles import JOINTS

SHOULDERS, HIPS = (11, 12), (23, 24)
SIDEWAYS_FROM = 55.0
"""From here on the far side is hidden behind the near one, and what a model says of it is a guess."""
FRONTAL_BELOW = 35.0
"""Below this, knees and hips that bend bend towards the camera: their degrees rest on guessed depth alone."""
BEST_SEEN_SIDEWAYS = frozenset({"knee", "hip"})
FORESHORTENED = "Turn sideways to the camera: from the front the {joint}'s degrees cannot be trusted."


def turned_away(world: ArrayLike) -> float:
    """Degrees 0 to 90, from shoulders and hips together."""
    points = np.asarray(world, float)
    across = sum(np.abs(points[left] - points[right]) for left, right in (SHOULDERS, HIPS))
    return float(np.degrees(np.arctan2(across[2], across[0])))


def near_side(world: ArrayLike) -> str:
    """`left` or `right`: the side whose shoulder and hip are nearer to the camera."""
    points = np.asarray(world, float)
    depth = sum(points[left, 2] - points[right, 2] for left, right in (SHOULDERS, HIPS))
    return "left" if depth < 0 else "right"


def believed(angles: dict[str, float], world: ArrayLike) -> dict[str, float]:
    """The angles without those of a far side that the near side hides."""
    if turned_away(world) < SIDEWAYS_FROM:
        return angles
    side = near_side(world)
    return {joint: angle for joint, angle in angles.items() if joint.endswith(side)}


def advice(joint: str, turned: float) -> str | None:
    """What to tell somebody whose exercise is counted by `joint` and who stands so; None when all is well."""
    if joint in BEST_SEEN_SIDEWAYS and turned < FRONTAL_BELOW:
        return FORESHORTENED.format(joint=joint)
    return None


def seen_well(visibility: ArrayLike, joint: str, side: str | None = None) -> float:
    """0 to 1: how well the landmarks of a joint are seen, on the better side or the one named."""
    seen = np.asarray(visibility, float)
    sides = [side] if side is not None else ["left", "right"]
    return float(max(seen[list(JOINTS[f"{joint}_{one}"])].min() for one in sides))
