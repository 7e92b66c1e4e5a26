"""How a body is seen by the camera: how far it is turned, which side is nearer, and which angles can be trusted.

World landmarks (metres, z away from the camera) in BlazePose's order. Facing towards or away from the camera is 0
degrees, sideways is 90.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from core.motion.angles import JOINTS

SHOULDERS, HIPS = (11, 12), (23, 24)
SIDEWAYS_FROM = 55.0
"""Degrees from which the near side hides the far one, so that a model can only guess the far landmarks."""
FRONTAL_BELOW = 35.0
"""Degrees below which knees and hips bend towards the camera, so that their angles depend on estimated depth alone."""
BEST_SEEN_SIDEWAYS = frozenset({"knee", "hip"})
FORESHORTENED = "Turn sideways to the camera: from the front the {joint}'s degrees cannot be trusted."


def turned_away(world: ArrayLike) -> float:
    """Rotation of the body, 0 to 90 degrees, from shoulders and hips."""
    points = np.asarray(world, float)
    across = sum(np.abs(points[left] - points[right]) for left, right in (SHOULDERS, HIPS))
    return float(np.degrees(np.arctan2(across[2], across[0])))


def near_side(world: ArrayLike) -> str:
    """`left` or `right`: the side whose shoulder and hip are nearer to the camera."""
    points = np.asarray(world, float)
    depth = sum(points[left, 2] - points[right, 2] for left, right in (SHOULDERS, HIPS))
    return "left" if depth < 0 else "right"


def believed(angles: dict[str, float], world: ArrayLike) -> dict[str, float]:
    """The angles without those of a far side that is hidden by the near one."""
    if turned_away(world) < SIDEWAYS_FROM:
        return angles
    side = near_side(world)
    return {joint: angle for joint, angle in angles.items() if joint.endswith(side)}


def advice(joint: str, turned: float) -> str | None:
    """Advice for somebody whose exercise is measured at `joint` and who is turned by `turned` degrees;

    None when all is well.
    """
    if joint in BEST_SEEN_SIDEWAYS and turned < FRONTAL_BELOW:
        return FORESHORTENED.format(joint=joint)
    return None


def seen_well(visibility: ArrayLike, joint: str, side: str | None = None) -> float:
    """Visibility of a joint, 0 to 1: that of its least visible landmark, on the better side or the named one."""
    seen = np.asarray(visibility, float)
    sides = [side] if side is not None else ["left", "right"]
    return float(max(seen[list(JOINTS[f"{joint}_{one}"])].min() for one in sides))
