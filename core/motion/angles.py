"""Joint angles from landmarks: the interior angle at the middle one of three, 0 to 180 degrees.

Picture coordinates must have the same scale on both axes (x times width, y times height) before an angle is meaningful;
world landmarks (metres) already have. A straight limb has 180 degrees.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

LANDMARKS = 33
JOINTS: Mapping[str, tuple[int, int, int]] = {
    "elbow_left": (11, 13, 15),
    "elbow_right": (12, 14, 16),
    "shoulder_left": (23, 11, 13),
    "shoulder_right": (24, 12, 14),
    "hip_left": (11, 23, 25),
    "hip_right": (12, 24, 26),
    "knee_left": (23, 25, 27),
    "knee_right": (24, 26, 28),
}
"""For each joint, the BlazePose indices of its three landmarks; the angle is at the middle one."""
LEAST_VISIBLE = 0.5
_TRIPLES = np.array(list(JOINTS.values()))


def interior_angles(first: ArrayLike, middle: ArrayLike, last: ArrayLike) -> NDArray[np.float64]:
    """Angles at `middle` in degrees, for points of shape (…, 2) or (…, 3); NaN where two points coincide.

    The angle is twice the arctangent of |a - b| over |a + b| for unit vectors a and b, which stays precise near 0 and
    180 degrees, where an arccosine does not (W. Kahan, "How Futile are Mindless Assessments of Roundoff", 2006, section
    12).
    """
    at = np.asarray(middle, float)
    one, other = np.asarray(first, float) - at, np.asarray(last, float) - at
    lengths = np.linalg.norm(one, axis=-1, keepdims=True), np.linalg.norm(other, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        one, other = one / lengths[0], other / lengths[1]
    spread, sum_ = np.linalg.norm(one - other, axis=-1), np.linalg.norm(one + other, axis=-1)
    angles: NDArray[np.float64] = np.degrees(2 * np.arctan2(spread, sum_))
    return angles


def joint_angles(
    points: ArrayLike,
    visibility: ArrayLike | None = None,
    *,
    width: float = 1.0,
    height: float = 1.0,
    least_visible: float = LEAST_VISIBLE,
) -> dict[str, float]:
    """The angles of one pose by joint, in degrees; a joint with a hidden or unknown landmark is left out.

    `points` has shape (33, 2) or (33, 3) in BlazePose's order. For normalised picture coordinates give the picture's
    width and height (only the ratio matters) and no z; for world landmarks give neither.
    """
    coordinates = np.array(points, float)
    coordinates[:, 0] *= width
    coordinates[:, 1] *= height
    angles = interior_angles(*(coordinates[_TRIPLES[:, corner]] for corner in range(3)))
    seen = np.isfinite(angles)
    if visibility is not None:
        seen &= (np.asarray(visibility, float)[_TRIPLES] >= least_visible).all(axis=1)
    return {joint: float(angle) for joint, angle, good in zip(JOINTS, angles, seen, strict=True) if good}
