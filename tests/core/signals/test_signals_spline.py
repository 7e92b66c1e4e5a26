"""The running spline is the spline, up to the samples it cannot know yet."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from core.signals.spline import AHEAD, Interval, Knot, Spline, before_start


def _draw(knots: list[Knot]) -> list[Interval]:
    spline, drawn = Spline(knots[0]), []
    for i in range(1, len(knots)):
        drawn += spline.draw(knots[i : i + AHEAD], 1)
    return drawn


def _knots(n: int, seed: int = 0) -> list[Knot]:
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.uniform(7.0, 13.0, n))
    return [Knot(float(a), float(np.sin(a / 50.0))) for a in t]


def test_close_to_the_natural_spline_through_all_samples() -> None:
    knots = _knots(60)
    whole = CubicSpline([k.t for k in knots], [k.v for k in knots], bc_type="natural")
    for interval in _draw(knots):
        middle = (interval.a.t + interval.b.t) / 2
        assert abs(interval.at(middle) - float(whole(middle))) < 1e-3


def test_exactly_the_natural_spline_where_all_is_known() -> None:
    knots = _knots(AHEAD + 1)
    whole = CubicSpline([k.t for k in knots], [k.v for k in knots], bc_type="natural")
    drawn = Spline(knots[0]).draw(knots[1:], AHEAD)
    for interval in drawn:
        for t in np.linspace(interval.a.t, interval.b.t, 7):
            assert abs(interval.at(float(t)) - float(whole(t))) < 1e-12


def test_one_by_one_or_many_at_once_is_the_same_curve() -> None:
    knots = _knots(30, seed=2)
    at_once = Spline(knots[0]).draw(knots[1:], len(knots) - AHEAD)
    assert at_once == _draw(knots)[: len(at_once)]


@given(st.lists(st.tuples(st.floats(0.01, 50), st.floats(-1e9, 1e9)), min_size=4, max_size=30))
def test_never_far_from_its_neighbours_whatever_the_stamps(steps: list[tuple[float, float]]) -> None:
    t = np.cumsum([step for step, _ in steps])
    knots = [Knot(float(a), value) for a, (_, value) in zip(t, steps, strict=True)]
    low, high = min(k.v for k in knots), max(k.v for k in knots)
    for interval in _draw(knots):
        for where in np.linspace(interval.a.t, interval.b.t, 5):
            value = interval.at(float(where))
            assert low - (high - low) <= value <= high + (high - low)


def test_straight_across_a_hole() -> None:
    spline = Spline(Knot(0.0, 1.0))
    line = spline.draw_straight(Knot(50.0, 3.0))
    assert line.at(25.0) == 2.0
    assert spline.knot == Knot(50.0, 3.0)


def test_before_the_first_sample_stays_near_it() -> None:
    knots = _knots(4)
    assert before_start(knots, knots[0].t) == knots[0].v
    assert before_start(knots[:1], knots[0].t - 9.0) == knots[0].v
    wild = [Knot(0.0, 0.0), Knot(10.0, 1.0), Knot(20.0, -1.0), Knot(30.0, 1.0)]
    assert abs(before_start(wild, -9.0)) <= 2.0 / 3.0
