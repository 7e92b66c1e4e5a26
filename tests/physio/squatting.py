"""A figure that squats: 33 landmarks a frame, as a kit's camera would see it from the side, and its angles."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from core.contracts.physio import LandmarkName
from core.motion.angles import LANDMARKS, joint_angles

NAMES = get_args(LandmarkName)


def pose(bend: float, uneven: float = 0.0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Standing at bend 0, thighs level at 1. Coordinates in 0..1, y downwards, of a square picture."""
    points = np.full((LANDMARKS, 2), 0.5)
    for side, extra in ((0, 0.0), (1, uneven)):
        turn = np.radians(90 * bend * (1 - extra))
        ankle = np.array([0.5 + 0.04 * side, 0.92])
        knee = ankle + 0.22 * np.array([0.3 * np.sin(turn / 2), -np.cos(turn / 4)])
        hip = knee + 0.24 * np.array([-np.sin(turn), -np.cos(turn)])
        shoulder = hip + 0.3 * np.array([0.35 * np.sin(turn), -1.0])
        elbow = shoulder + np.array([0.12, 0.08])
        for number, point in (
            (27, ankle),
            (25, knee),
            (23, hip),
            (11, shoulder),
            (13, elbow),
            (15, elbow + np.array([0.1, -0.05])),
        ):
            points[number + side] = point
        points[31 + side] = ankle + np.array([0.07, 0.02])
        points[29 + side] = ankle + np.array([-0.02, 0.02])
    points[:11] = points[11] + np.array([0.03, -0.1])
    return points


def frames(began: int, squats: int = 4, hz: float = 15, uneven: float = 0.0) -> list[dict[str, Any]]:
    """A second of standing, squats of three seconds each, a second of standing."""
    made = []
    for t in np.arange(0, 2000 + 3000 * squats, 1000 / hz):
        inside = 1000 <= t < 1000 + 3000 * squats
        bend = (1 - np.cos(2 * np.pi * (t - 1000) / 3000)) / 2 if inside else 0.0
        points = pose(float(bend), uneven)
        landmarks = [
            {"type": name, "x": round(float(x), 4), "y": round(float(y), 4), "visibility": 0.98}
            for name, (x, y) in zip(NAMES, points, strict=True)
        ]
        angles = {joint: round(angle, 1) for joint, angle in joint_angles(points).items()}
        made.append({"timestamp": began + int(t), "landmarks": landmarks, "angles": angles, "quality_score": 0.9})
    return made
