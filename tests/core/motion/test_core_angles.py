"""Joint angles against skeletons built with known ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.motion.angles import JOINTS, LANDMARKS, interior_angles, joint_angles

degrees = st.floats(0, 180)
turns = st.floats(-180, 180)


def skeleton(angles: dict[str, float], seed: int, dimensions: int) -> NDArray[np.float64]:
    """33 points in which each listed joint has its angle; limbs of chance lengths and directions.

    One joint is set at a time by its own three landmarks, so at most one joint of each shared limb may be listed.
    """
    chance = np.random.default_rng(seed)
    points = chance.normal(size=(LANDMARKS, dimensions))
    for joint, angle in angles.items():
        first, middle, last = JOINTS[joint]
        one = points[first] - points[middle]
        one /= np.linalg.norm(one)
        other = chance.normal(size=dimensions)
        other -= one * (other @ one)
        other /= np.linalg.norm(other)
        turn = np.radians(angle)
        points[last] = points[middle] + chance.uniform(0.2, 3) * (one * np.cos(turn) + other * np.sin(turn))
    return points


@given(st.lists(degrees, min_size=4, max_size=4), st.integers(0, 2**32), st.sampled_from([2, 3]))
def test_an_angle_is_found_to_a_hundredth_of_a_degree(wanted: list[float], seed: int, dimensions: int) -> None:
    built = dict(zip(("elbow_left", "elbow_right", "knee_left", "knee_right"), wanted, strict=True))
    found = joint_angles(skeleton(built, seed, dimensions))
    for joint, angle in built.items():
        assert found[joint] == pytest.approx(angle, abs=0.01)


@given(degrees, turns, st.floats(0.1, 10), st.integers(0, 2**32))
def test_turning_moving_and_scaling_change_no_angle(angle: float, turn: float, scale: float, seed: int) -> None:
    points = skeleton({"knee_left": angle}, seed, 2)
    spin = np.radians(turn)
    rotation = np.array([[np.cos(spin), -np.sin(spin)], [np.sin(spin), np.cos(spin)]])
    moved = scale * points @ rotation.T + [3.0, -2.0]
    assert joint_angles(moved)["knee_left"] == pytest.approx(joint_angles(points)["knee_left"], abs=1e-5)


def test_a_right_angled_leg_in_a_wide_picture_is_90() -> None:
    """Normalised coordinates lie until they are stretched to the picture: without its size this leg seems 73."""
    width, height = 1280, 720
    points = np.full((LANDMARKS, 2), 0.5)
    for hip, knee, ankle in (JOINTS["knee_left"], JOINTS["knee_right"]):
        points[knee] = (640 / width, 360 / height)
        points[hip] = (540 / width, 260 / height)
        points[ankle] = (540 / width, 460 / height)
    found = joint_angles(points, width=width, height=height)
    assert found["knee_left"] == pytest.approx(90, abs=0.01)
    assert found["knee_right"] == pytest.approx(90, abs=0.01)
    assert abs(joint_angles(points)["knee_left"] - 90) > 10


def test_a_frame_has_every_documented_key() -> None:
    found = joint_angles(np.random.default_rng(1).normal(size=(LANDMARKS, 3)))
    sides = {f"{joint}_{side}" for joint in ("elbow", "shoulder", "hip", "knee") for side in ("left", "right")}
    assert set(found) == sides
    assert all(0 <= angle <= 180 for angle in found.values())


def test_a_hidden_landmark_or_coinciding_points_give_no_angle() -> None:
    points = np.random.default_rng(2).normal(size=(LANDMARKS, 3))
    visibility = np.ones(LANDMARKS)
    visibility[27] = 0.2
    assert set(JOINTS) - set(joint_angles(points, visibility)) == {"knee_left"}
    points[26] = points[24]
    assert "knee_right" not in joint_angles(points)


def test_straight_and_folded_limbs_are_exact() -> None:
    middle = np.zeros((3, 2))
    first = np.array([[1.0, 0], [1, 0], [1, 0]])
    last = np.array([[-2.0, 0], [5, 0], [1e-9, 1e-9]])
    assert interior_angles(first, middle, last) == pytest.approx([180, 0, 45], abs=1e-9)
