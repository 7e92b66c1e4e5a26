"""From where a body is seen: turned skeletons, hidden sides, and poses between two."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.motion.angles import JOINTS, LANDMARKS, joint_angles
from core.motion.between import LONGEST_MS, between
from core.motion.view import advice, believed, near_side, seen_well, turned_away

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def body(knee: float = 90.0) -> Floats:
    """A figure in metres that faces the camera (its right to the picture's left), knees bent by so many degrees."""
    points = np.zeros((LANDMARKS, 3))
    bend = np.radians(180 - knee)
    for side, x in ((0, 0.2), (1, -0.2)):
        hip = np.array([x, 0.0, 0.0])
        shoulder = np.array([x, -0.5, 0.0])
        at_knee = hip + np.array([0, 0.4, 0.0])
        ankle = at_knee + 0.4 * np.array([0, np.cos(bend), np.sin(bend)])
        elbow = shoulder + np.array([0, 0.3, 0])
        wrist = elbow + np.array([0, 0, -0.3])
        limbs = {11: shoulder, 13: elbow, 15: wrist, 23: hip, 25: at_knee, 27: ankle}
        for number, point in limbs.items():
            points[number + side] = point
    return points


def turned(points: Floats, degrees: float) -> Floats:
    """About the upright axis; to the figure's right, so that its left side comes nearer."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return np.asarray(points @ turn.T)


@given(knee=st.floats(5, 179), degrees=st.floats(-180, 180), tilt=st.floats(-40, 40))
def test_degrees_do_not_depend_on_where_the_camera_stands(knee: float, degrees: float, tilt: float) -> None:
    lean = np.radians(tilt)
    tilted = np.array([[np.cos(lean), -np.sin(lean), 0], [np.sin(lean), np.cos(lean), 0], [0, 0, 1]])
    angles = joint_angles(turned(body(knee), degrees) @ tilted.T)
    assert angles["knee_left"] == pytest.approx(knee, abs=0.01)
    assert angles["knee_right"] == pytest.approx(knee, abs=0.01)
    assert angles["elbow_left"] == pytest.approx(90, abs=0.01)
    assert set(angles) == set(JOINTS)


@pytest.mark.parametrize(("degrees", "seen"), [(0, 0), (30, 30), (90, 90), (150, 30), (180, 0), (-60, 60)])
def test_how_far_somebody_is_turned_away(degrees: float, seen: float) -> None:
    assert turned_away(turned(body(), degrees)) == pytest.approx(seen, abs=0.01)


def test_of_a_body_seen_from_the_side_only_the_near_one_is_believed() -> None:
    for degrees, side in ((80, "left"), (-80, "right")):
        points = turned(body(), degrees)
        assert near_side(points) == side
        assert set(believed(joint_angles(points), points)) == {key for key in JOINTS if key.endswith(side)}
    front = body()
    assert believed(joint_angles(front), front) == joint_angles(front)


def test_advice_only_for_joints_that_bend_towards_the_camera() -> None:
    assert "sideways" in str(advice("knee", 10))
    assert advice("knee", 60) is None
    assert advice("shoulder", 10) is None


def test_how_well_a_joint_is_seen_is_its_worst_landmark_on_the_better_side() -> None:
    visibility = np.ones(LANDMARKS)
    visibility[[25, 28]] = 0.2, 0.6
    assert seen_well(visibility, "knee") == pytest.approx(0.6)
    assert seen_well(visibility, "knee", "left") == pytest.approx(0.2)


def test_between_two_poses_and_nowhere_else() -> None:
    one, other = np.zeros((33, 3), np.float32), np.ones((33, 3), np.float32)
    made = between(125, 100, one, 200, other)
    assert made is not None
    assert np.allclose(made, 0.25)
    assert between(100, 100, one, 200, other) is None
    assert between(250, 100, one, 200, other) is None
    assert between(150, 100, one, 101 + LONGEST_MS, other) is None
