"""Repetitions and form on movements whose truth is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.motion.exercises import EXERCISES
from core.motion.form import Movement, analyse
from core.motion.reps import RepCounter, repetitions

SQUAT = EXERCISES["squat"]
Series = NDArray[np.float64]


def squats(
    count: int, bottom: float = 85, top: float = 172, each_ms: float = 3000, hz: float = 30
) -> tuple[Series, Series]:
    """Standing a second, `count` squats, standing a second."""
    t = np.arange(0, 2000 + count * each_ms, 1000 / hz)
    moving = (t >= 1000) & (t < 1000 + count * each_ms)
    wave = (1 - np.cos(2 * np.pi * (t - 1000) / each_ms)) / 2
    return t, top - (top - bottom) * np.where(moving, wave, 0)


def done(t: Series, left: Series, right: Series | None = None, name: str = "squat", **others: Series) -> Movement:
    joint = EXERCISES[name].joint
    angles = {f"{joint}_left": left, f"{joint}_right": left if right is None else right}
    return analyse(name, t, angles | others)


@given(
    st.integers(0, 12), st.floats(50, 100), st.floats(1600, 6000), st.floats(8, 60), st.floats(0, 6), st.integers(0, 99)
)
@settings(max_examples=60)
def test_squats_are_counted_at_any_rate_depth_and_noise(
    count: int, bottom: float, each_ms: float, hz: float, noise: float, seed: int
) -> None:
    t, angle = squats(count, bottom, each_ms=each_ms, hz=hz)
    shaken = angle + np.random.default_rng(seed).uniform(-noise, noise, len(t)) * 0.7
    movement = done(t, shaken)
    assert len(movement.repetitions) == count
    starts = [rep.start_ms for rep in movement.repetitions]
    assert starts == sorted(starts)


@given(st.integers(1, 8), st.integers(0, 1000))
@settings(max_examples=30)
def test_lost_frames_lose_no_repetition(count: int, seed: int) -> None:
    t, angle = squats(count)
    kept = np.random.default_rng(seed).random(len(t)) > 0.5
    assert len(repetitions(SQUAT, zip(t[kept], angle[kept], strict=True))) == count


def test_the_limits_are_the_contracts() -> None:
    """Bottom below 105, counted on the return above 130, 0.8 s apart."""

    def count(*points: tuple[float, float]) -> int:
        counter = RepCounter(SQUAT)
        for t, angle in points:
            counter.push(t, angle)
        return counter.count

    assert count((0, 170), (500, 104.9), (1000, 130.1)) == 1
    assert count((0, 170), (500, 105), (1000, 131)) == 0
    assert count((0, 170), (500, 104), (1000, 130)) == 0
    assert count((0, 170), (500, 104), (1000, 128), (1300, 104), (1700, 131)) == 1
    assert count((0, 170), (400, 90), (800, 140), (1100, 90), (1500, 140)) == 1
    assert count((0, 170), (400, 90), (800, 140), (1200, 90), (1600, 140)) == 2


def test_standing_still_is_never_told_to_go_deeper() -> None:
    t = np.arange(0, 60_000, 33.3)
    swaying = 168 + 4 * np.sin(t / 700)
    movement = done(t, swaying)
    assert (movement.repetitions, movement.attempts, movement.issues) == ((), (), ())
    assert movement.score is None


def test_a_shallow_squat_is_told_where_it_turned() -> None:
    t, angle = squats(2, bottom=115)
    movement = done(t, angle)
    assert not movement.repetitions
    assert [issue.type for issue in movement.issues] == ["DEPTH_WARNING", "DEPTH_WARNING"]
    assert [issue.t_ms for issue in movement.issues] == pytest.approx([2500, 5500], abs=40)
    assert "115" in movement.issues[0].message


def test_clean_squats_have_no_finding_and_full_score() -> None:
    t, angle = squats(5)
    movement = done(t, angle)
    assert movement.issues == ()
    assert movement.score == 1.0
    assert movement.balance == 0.0
    assert movement.tempo_ms is not None
    assert movement.tempo_ms[0] == pytest.approx(movement.tempo_ms[1], abs=70)


def test_uneven_legs_are_found_inside_the_movement() -> None:
    t, left = squats(3)
    _, right = squats(3, bottom=105)
    movement = done(t, left, right)
    assert [(issue.type, issue.joint) for issue in movement.issues] == [("ASYMMETRY_WARNING", "knee_left")] * 3
    assert movement.balance == pytest.approx(100 * (87 - 67) / 87, abs=0.1)


def test_dropping_is_told_to_be_slower_and_leaning_to_be_upright() -> None:
    t, angle = squats(1, each_ms=900)
    lean = np.where(angle < 110, 40.0, 150.0)
    kinds = {issue.type for issue in done(t, angle, hip_left=lean).issues}
    assert kinds == {"TEMPO_WARNING", "ANGLE_WARNING"}


def test_a_joint_out_of_sight_is_said_and_ends_the_movement() -> None:
    t, angle = squats(4)
    angle[(t > 3800) & (t < 6500)] = np.nan
    movement = done(t, angle)
    assert len(movement.repetitions) == 3
    assert "VISIBILITY_WARNING" in {issue.type for issue in movement.issues}


def test_raises_and_bridges_count_on_closing() -> None:
    t, wave = squats(4, bottom=0, top=1)
    assert len(done(t, 20 + 80 * (1 - wave), name="shoulder_raise").repetitions) == 4
    assert len(done(t, 120 + 52 * (1 - wave), name="glute_bridge").repetitions) == 4


def test_a_wall_sit_is_held_not_repeated() -> None:
    t = np.arange(0, 40_000, 100.0)
    angle = np.where((t >= 5000) & (t <= 35_000), 92.0, 170.0)
    movement = done(t, angle, name="wall_sit")
    assert movement.repetitions == ()
    assert movement.held_ms == pytest.approx(30_000, abs=200)


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 180) | st.just(float("nan"))), max_size=200))
def test_any_stream_gives_whole_repetitions_in_order(points: list[tuple[float, float]]) -> None:
    found = repetitions(SQUAT, sorted(points, key=lambda point: point[0]))
    assert all(rep.start_ms <= rep.turn_ms <= rep.end_ms for rep in found)
    counted = [rep.end_ms for rep in found if rep.reached]
    assert all(later - before >= SQUAT.apart_ms for before, later in pairwise(counted))


def test_an_exercise_without_rules_is_left_alone() -> None:
    t, angle = squats(2)
    movement = analyse("heel_slide", t, {"knee_left": angle})
    assert (movement.repetitions, movement.issues, movement.score) == ((), (), None)
