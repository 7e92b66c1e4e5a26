"""Lines under and through stamps that are late."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.signals.line import Line, late_discounted, lower_hull, theil_sen

delays = st.lists(st.floats(0, 1e6), min_size=2, max_size=60)


@given(delays, st.floats(-1e-3, 1e-3))
def test_the_hull_lies_below_every_point_and_touches_two(late: list[float], slope: float) -> None:
    x = np.arange(len(late), dtype=float) * 1e6
    y = slope * x + np.array(late)
    over = y - lower_hull(x, y).over(x)
    assert over.min() >= -1e-3
    assert np.sum(over < 1e-3) >= 2


def test_the_hull_is_the_lowest_total_of_all_lines_below() -> None:
    rng = np.random.default_rng(0)
    x, y = np.arange(40.0), rng.exponential(5.0, 40)
    best = (y - lower_hull(x, y).over(x)).sum()
    below = [Line(s, float((y - s * x).min())) for s in np.linspace(-2, 2, 401)]
    assert best <= min((y - line.over(x)).sum() for line in below) + 1e-9


def test_theil_sen_outvotes_early_liars_where_the_hull_cannot() -> None:
    rng = np.random.default_rng(1)
    x = np.arange(60.0)
    y = 0.5 * x + rng.exponential(0.1, 60)
    y[40] -= 500.0
    assert abs(theil_sen(x, y).slope - 0.5) < 0.01
    assert abs(lower_hull(x, y).slope - 0.5) > 1.0


@pytest.mark.parametrize(("mean", "interval"), [(15.0, 30.0), (5.0, 7.5), (15.0, 0.0), (40.0, 15.0)])
def test_late_discounted_wanders_less_than_least_squares(mean: float, interval: float) -> None:
    """The end of the line, packet after packet, against the true time: half of 40 s of packets, ten runs."""
    rng = np.random.default_rng(7)
    ours, plain = [], []
    for _ in range(10):
        x = np.arange(200) * 20.0 + 19.0
        true = x * 10.13 + rng.uniform(0.0, 30.0)
        y = true + rng.exponential(mean, 200)
        y = np.ceil(y / interval) * interval if interval else y
        line, ends = Line(10.0, float(y[0] - 10.0 * x[0])), []
        for n in range(3, 200):
            line = late_discounted(x[:n], y[:n], line)
            fit = np.polyfit(x[:n], y[:n], 1)
            ends.append((line.at(x[n - 1]) - true[n - 1], np.polyval(fit, x[n - 1]) - true[n - 1]))
        wander = np.array(ends)[50:].std(axis=0)
        ours.append(wander[0])
        plain.append(wander[1])
    assert np.mean(ours) < 0.9 * np.mean(plain)


def test_one_point_has_no_slope() -> None:
    x, y = np.array([3.0]), np.array([8.0])
    assert lower_hull(x, y) == Line(0.0, 8.0)
    assert theil_sen(x, y) == Line(0.0, 8.0)
    assert late_discounted(x, y, Line(2.0, 0.0)) == Line(2.0, 2.0)
