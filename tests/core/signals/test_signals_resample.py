"""The grid's laws: they hold for any stream, cut into any batches."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.signals.resample import Gap, Resampler
from tests.core.signals.scg_recordings import Batch, Grid, batches_of, live

EPOCH = 1_721_574_600_123.0


def _waves(t: np.ndarray) -> np.ndarray:
    return np.sin(t / 77.0) + 0.3 * np.sin(t / 13.0)


def _check_laws(grid: Grid) -> None:
    assert grid.t.dtype == np.int64
    assert np.all(grid.t % 10 == 0)
    assert np.all(np.diff(grid.t) > 0)
    assert np.all(np.isfinite(grid.values))
    for gap in grid.gaps:
        assert gap.to_ms - gap.from_ms > 100.0
        assert not np.any((grid.t > gap.from_ms) & (grid.t < gap.to_ms))


def _cut(t: np.ndarray, values: np.ndarray, cuts: list[int]) -> list[Batch]:
    edges = [0, *sorted(min(cut, len(t)) for cut in cuts), len(t)]
    return [(t[a:b], values[a:b]) for a, b in pairwise(edges)]


@st.composite
def sensor_streams(draw: st.DrawFn) -> Batch:
    """Rates 10 to 1000 Hz, jitter, whole ms or not, losses, gaps, duplicates; in order."""
    rate = draw(st.sampled_from([10.0, 50.0, 98.7, 100.0, 251.0, 400.0, 1000.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    t = np.arange(draw(st.integers(1, int(3 * rate)))) * 1000.0 / rate
    t += draw(st.sampled_from([0.0, EPOCH, -5000.3])) + rng.normal(0.0, 80.0 / rate, len(t))
    if draw(st.booleans()):
        t = np.round(t)
    keep = rng.random(len(t)) > draw(st.sampled_from([0.0, 0.03]))
    for _ in range(draw(st.integers(0, 2))):
        first = int(rng.integers(0, len(t)))
        keep[first : first + int(rng.integers(1, int(1.5 * rate)))] = False
    t = np.sort(np.concatenate([t[keep], rng.choice(t[keep], 2)])) if keep.any() else t[:1]
    return t, _waves(t)


@settings(max_examples=60)
@given(sensor_streams(), st.lists(st.integers(0, 3000), max_size=40))
def test_any_batching_gives_the_same_grid(stream: Batch, cuts: list[int]) -> None:
    """Exactly, to the last bit, as long as no pause of a quarter of a second lets samples out earlier."""
    whole = live([stream], [0.0])
    cut = live(_cut(*stream, cuts), paused=False)
    _check_laws(whole)
    np.testing.assert_array_equal(whole.t, cut.t)
    np.testing.assert_array_equal(whole.values, cut.values)
    assert whole.gaps == cut.gaps


@settings(max_examples=40)
@given(sensor_streams(), st.integers(1, 60))
def test_pauses_change_no_grid_time(stream: Batch, size: int) -> None:
    """Where a pause lets samples out before their successors came, only the last values before it may differ."""
    batches = batches_of(*stream, size)
    whole, paused = live([stream], [0.0]), live(batches, [300.0 * i for i in range(len(batches))])
    _check_laws(paused)
    np.testing.assert_array_equal(whole.t, paused.t)


@st.composite
def faulty_streams(draw: st.DrawFn) -> tuple[list[Batch], list[float]]:
    """Everything that was ever seen to go wrong at once: stamps of any making, disorder, steps, nonsense."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rate = draw(st.sampled_from([10.0, 98.7, 200.0, 1000.0]))
    n = draw(st.integers(2, int(3 * rate)))
    t = np.arange(n) * 1000.0 / rate + draw(st.sampled_from([0.0, EPOCH]))
    match draw(st.sampled_from(["sensor", "host", "packet"])):
        case "host":
            t = t + rng.exponential(300.0 / rate, n)
        case "packet":
            size = draw(st.integers(2, 30))
            t = t[np.minimum(np.arange(n) // size * size + size - 1, n - 1)]
    values = rng.normal(size=n)
    if draw(st.booleans()):
        t[int(rng.integers(0, n)) :] += draw(st.sampled_from([-3000.0, -1150.0, -30.0, 750.0, 3e6]))
    for _ in range(draw(st.integers(0, 3))):
        t[rng.integers(0, n)] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e300, 0.0, 5e12]))
        values[rng.integers(0, n)] = draw(st.sampled_from([np.nan, -np.inf, 1e300, 1e9]))
    order = np.argsort(np.arange(n) + rng.normal(0.0, draw(st.sampled_from([0.0, 1.0, 20.0])), n))
    batches = _cut(t[order], values[order], rng.integers(0, n, n // 15).tolist())
    return batches, np.cumsum(rng.choice([0.0, 150.0, 300.0], len(batches))).tolist()


@settings(max_examples=150)
@given(faulty_streams())
def test_no_fault_breaks_a_law(faulty: tuple[list[Batch], list[float]]) -> None:
    batches, arrivals = faulty
    grid = live(batches, arrivals)
    _check_laws(grid)
    assert 0 <= grid.dropped <= sum(len(t) for t, _ in batches)


def test_documented_batch() -> None:
    resampler = Resampler()
    t, az = np.array([1721574600123.0, 1721574600133.0]), np.array([0.098, 0.097])
    first = resampler.push(t, az, now_ms=5.0)
    assert resampler.deadline_ms == 255.0
    assert len(resampler.flush(254.9).t) == 0
    rest = resampler.flush(255.0)
    got = np.concatenate([first.t, rest.t])
    assert got.tolist() == [1721574600120, 1721574600130]
    np.testing.assert_allclose(np.concatenate([first.values, rest.values]), [0.098, 0.0973], atol=2e-4)
    assert resampler.deadline_ms is None


def test_one_sample_is_told() -> None:
    grid = live([(np.array([57.0]), np.array([2.5]))], [0.0])
    assert grid.t.tolist() == [50]
    assert grid.values.tolist() == [2.5]


def test_no_samples_no_points() -> None:
    resampler = Resampler()
    empty = np.array([])
    assert len(resampler.push(empty, empty, 0.0).t) == 0
    assert resampler.deadline_ms is None


@pytest.mark.parametrize(("hertz", "largest"), [(1.2, 1e-4), (5.0, 0.002), (10.0, 0.014)])
def test_jittered_sine(hertz: float, largest: float) -> None:
    rng = np.random.default_rng(1)
    n = round(60 * 98.5)
    t = EPOCH + np.arange(n) * 1000.0 / 98.5 + rng.normal(0.0, 1.0, n)
    grid = live(batches_of(t, np.sin(2e-3 * np.pi * hertz * (t - EPOCH)), 20))
    assert abs(len(grid.t) - 6000) <= 1
    error = grid.values - np.sin(2e-3 * np.pi * hertz * (grid.t - EPOCH))
    assert np.abs(error[1:]).max() < largest


@pytest.mark.parametrize("rate", [10.0, 25.0, 98.5, 200.0, 1000.0])
def test_a_hundred_points_a_second_from_any_rate(rate: float) -> None:
    t = 123.4 + np.arange(int(10 * rate)) * 1000.0 / rate
    grid = live(batches_of(t, _waves(t), max(int(rate / 10), 1)), None)
    assert grid.gaps == []
    np.testing.assert_array_equal(grid.t, np.arange(120, t[-1], 10))


@pytest.mark.parametrize(
    ("rate", "hole", "is_gap"), [(100.0, 99.0, False), (100.0, 101.0, True), (20.0, 149.0, False), (20.0, 151.0, True)]
)
def test_a_gap_is_three_periods_or_a_tenth_of_a_second(rate: float, hole: float, is_gap: bool) -> None:
    before = np.arange(100) * 1000.0 / rate
    t = np.concatenate([before, before[-1] + hole + np.arange(100) * 1000.0 / rate])
    grid = live(batches_of(t, _waves(t), 20))
    assert grid.gaps == ([Gap(t[99], t[100])] if is_gap else [])
    inside = (grid.t > t[99]) & (grid.t < t[100])
    assert inside.any() != is_gap


def test_two_seconds_of_silence_stay_empty_and_the_grid_goes_on() -> None:
    t = np.concatenate([np.arange(0.0, 1000.0, 10.0), np.arange(3000.0, 4000.0, 10.0)]) + 3.0
    arrivals = [float(batch[0][-1]) for batch in batches_of(t, t, 20)]
    grid = live(batches_of(t, _waves(t), 20), arrivals)
    assert grid.gaps == [Gap(993.0, 3003.0)]
    assert grid.t[grid.t > 993][0] == 3010
    assert grid.t[-1] == 3990


def test_few_missing_samples_are_crossed_without_overshoot() -> None:
    t = np.delete(np.arange(0.0, 2000.0, 10.0), slice(100, 104)) + 2.0
    values = _waves(t)
    grid = live(batches_of(t, values, 20))
    hole = (grid.t > t[99]) & (grid.t < t[100])
    assert hole.sum() == 5
    assert grid.values[hole].min() >= min(values[99], values[100])
    assert grid.values[hole].max() <= max(values[99], values[100])


def test_swapped_batches_and_neighbours_cost_nothing() -> None:
    t = np.arange(0.0, 4000.0, 10.13)
    batches = batches_of(t, _waves(t), 20)
    straight = live(list(batches))
    shuffled = list(batches)
    shuffled[7], shuffled[8] = shuffled[8], shuffled[7]
    order = [*range(10), 11, 10, *range(12, 20)]
    shuffled[12] = (batches[12][0][order], batches[12][1][order])
    mixed = live(shuffled)
    assert mixed.dropped == 0
    np.testing.assert_array_equal(straight.t, mixed.t)
    np.testing.assert_allclose(straight.values, mixed.values, atol=1e-6)


def test_a_batch_sent_twice_is_dropped_and_counted() -> None:
    t = np.arange(0.0, 4000.0, 10.13)
    batches = batches_of(t, _waves(t), 20)
    grid = live([*batches[:9], batches[5], *batches[9:]])
    assert grid.dropped == 20
    np.testing.assert_array_equal(grid.t, live(batches).t)
    assert grid.shift_ms == 0.0


def test_old_samples_in_a_burst_are_no_clock_step() -> None:
    t = np.arange(0.0, 8000.0, 10.0)
    batches = batches_of(t, _waves(t), 20)
    arrivals = [float(b[0][-1]) for b in batches]
    burst = live([*batches[:30], *batches[:10], *batches[30:]], [*arrivals[:30], *[arrivals[29]] * 10, *arrivals[30:]])
    assert burst.shift_ms == 0.0
    assert burst.dropped == 200
    np.testing.assert_array_equal(burst.t, live(batches).t)


def test_a_lone_stamp_from_the_future_is_dropped() -> None:
    t = np.arange(0.0, 4000.0, 10.0)
    wild = t.copy()
    wild[150] += 3_600_000.0
    grid = live(batches_of(wild, _waves(t), 20))
    assert grid.dropped == 1
    assert grid.gaps == []
    np.testing.assert_array_equal(grid.t, live(batches_of(t, _waves(t), 20)).t)


@pytest.mark.parametrize("step", [-500.0, -1150.0, -60_000.0])
def test_a_clock_set_back_is_re_anchored_without_silence_or_loss(step: float) -> None:
    true = np.arange(0.0, 8000.0, 10.13)
    t = np.where(true > 4000.0, true + step, true)
    grid = live(batches_of(t, _waves(true), 20))
    assert grid.gaps == []
    assert grid.dropped == 0
    assert abs(grid.shift_ms + step) < 1.0
    np.testing.assert_allclose(grid.t, np.arange(grid.t[0], grid.t[0] + 10 * len(grid.t), 10))
    np.testing.assert_allclose(grid.values[5:-5], _waves(grid.t[5:-5].astype(float)), atol=0.06)


def test_a_clock_put_right_again_ends_the_shift() -> None:
    true = np.arange(0.0, 12000.0, 10.0)
    t = np.where((true > 4000.0) & (true < 8000.0), true - 1150.0, true)
    grid = live(batches_of(t, _waves(true), 20))
    assert grid.shift_ms == 0.0
    assert grid.gaps == []
    np.testing.assert_array_equal(grid.t, np.arange(0, 12000, 10))


def test_a_small_step_back_costs_its_own_length_only() -> None:
    true = np.arange(0.0, 8000.0, 10.0)
    t = np.where(true > 4000.0, true - 60.0, true)
    grid = live(batches_of(t, _waves(true), 20))
    assert grid.shift_ms == 0.0
    assert grid.dropped <= 12
    assert len(grid.t) == 794


def test_a_page_reloaded_starts_at_zero_and_its_pause_is_a_gap() -> None:
    t = np.arange(0.0, 4000.0, 10.0)
    batches = batches_of(t, _waves(t), 20)
    arrivals = [200.0 * (i + 1) for i in range(20)]
    grid = live([*batches, *batches], [*arrivals, *[5000.0 + a for a in arrivals]])
    (gap,) = grid.gaps
    assert abs(gap.to_ms - gap.from_ms - 1010.0) < 20.0
    assert len(grid.t) == 800
    assert grid.dropped == 0


def test_nonsense_is_dropped_and_the_rest_kept() -> None:
    t = np.arange(0.0, 2000.0, 10.0)
    values = _waves(t)
    values[[20, 30]] = np.nan, np.inf
    t[[40, 50]] = np.nan, -np.inf
    values[60] = 1e300
    grid = live(batches_of(t, values, 20))
    assert grid.dropped == 5
    assert np.abs(grid.values).max() < 1.5
    assert len(grid.t) == 200


def test_rate_changed_on_the_way() -> None:
    fast = np.arange(0.0, 3000.0, 10.0)
    slow = np.arange(3000.0, 13000.0, 100.0)
    grid = live(batches_of(np.concatenate([fast, slow]), _waves(np.concatenate([fast, slow])), 10))
    _check_laws(grid)
    assert np.diff(grid.t[grid.t > 8000]).max() == 10


def test_values_at_samples_are_the_samples() -> None:
    t = np.arange(0.0, 2000.0, 10.0)
    values = np.random.default_rng(3).normal(size=len(t))
    grid = live(batches_of(t, values, 7))
    np.testing.assert_array_equal(grid.t, t)
    np.testing.assert_allclose(grid.values, values, atol=1e-12)


def test_a_step_of_parts_of_a_ms_is_refused() -> None:
    with pytest.raises(ValueError, match="whole ms"):
        Resampler(step_ms=2.5)


def test_another_step() -> None:
    t = np.arange(0.0, 1000.0, 5.0)
    resampler = Resampler(step_ms=20.0)
    first = resampler.push(t, _waves(t), 0.0)
    rest = resampler.flush(np.inf)
    assert np.concatenate([first.t, rest.t]).tolist() == list(range(0, 1000, 20))
