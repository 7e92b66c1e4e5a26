"""Who made the stamps is found out, and samples get times that are right although their stamps are not."""

from __future__ import annotations

import numpy as np
import pytest

from core.signals.stamps import StampKind, Stamps
from tests.core.signals.scg_recordings import Batch, batches_of, live

RATE = 98.7
PERIOD = 1000.0 / RATE


def _true(seconds: float, start: float = 1.7e12) -> np.ndarray:
    return start + np.arange(int(seconds * RATE)) * PERIOD


def _packets(true: np.ndarray, rng: np.random.Generator, size: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Each packet's samples under one stamp: its arrival, delayed and rounded up to a 30 ms connection interval."""
    last = np.minimum(np.arange(len(true)) // size * size + size - 1, len(true) - 1)
    ends = np.unique(last)
    arrivals = np.ceil((true[ends] + rng.exponential(15.0, len(ends))) / 30.0) * 30.0
    return np.maximum.accumulate(arrivals)[np.arange(len(true)) // size], ends


def _times(batches: list[Batch]) -> tuple[np.ndarray, Stamps]:
    stamps = Stamps()
    out = [timed for t, v in batches for timed in stamps.times(t, v)] + stamps.release()
    return np.array([t for t, _ in out]), stamps


def _noise(n: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=n)


@pytest.mark.parametrize(
    ("rate", "jitter", "whole_ms"),
    [
        (98.7, 0.0, True),
        (98.7, 1.0, True),
        (400.0, 0.0, True),
        (400.0, 0.1, False),
        (1000.0, 0.0, True),
        (10.0, 2.0, True),
    ],
)
def test_sensor_stamps_are_not_touched(rate: float, jitter: float, whole_ms: bool) -> None:
    t = 1.7e12 + np.arange(2000) * 1000.0 / rate + np.random.default_rng(1).normal(0.0, jitter, 2000)
    t = np.sort(np.round(t) if whole_ms else t)
    times, stamps = _times(batches_of(t, _noise(2000), 20))
    assert stamps.kind is StampKind.SENSOR
    np.testing.assert_array_equal(times, t)


def test_samples_told_twice_do_not_make_a_host() -> None:
    true = _true(60)
    t = np.repeat(true, np.where(np.arange(len(true)) % 6 == 0, 2, 1))
    values = np.repeat(_noise(len(true)), np.where(np.arange(len(true)) % 6 == 0, 2, 1))
    assert _times(batches_of(t, values, 20))[1].kind is StampKind.SENSOR


@pytest.mark.parametrize("mean_delay", [3.0, 8.0])
def test_host_stamps_are_put_on_their_line(mean_delay: float) -> None:
    true = _true(40)
    stamps_ms = np.round(true + np.random.default_rng(2).exponential(mean_delay, len(true)))
    times, stamps = _times(batches_of(stamps_ms, _noise(len(true)), 20))
    assert stamps.kind is StampKind.HOST
    off = (times - true)[800:]
    assert off.std() < 0.12 * mean_delay
    assert np.all(np.diff(times[200:]) > 0)


def test_host_that_becomes_a_sensor_is_believed_again() -> None:
    true = _true(40)
    late = np.random.default_rng(2).exponential(3.0, len(true)) * (np.arange(len(true)) < 2000)
    times, stamps = _times(batches_of(true + late, _noise(len(true)), 20))
    assert stamps.kind is StampKind.SENSOR
    np.testing.assert_array_equal(times[-1000:], true[-1000:])


@pytest.mark.parametrize("pushed", [20, 7, 100])
def test_packet_stamps_are_spread_at_the_rate_they_show(pushed: int) -> None:
    true = _true(60)
    arrivals, ends = _packets(true, np.random.default_rng(4))
    times, stamps = _times(batches_of(arrivals, _noise(len(true)), pushed))
    assert stamps.kind is StampKind.PACKET
    assert len(times) >= len(true) - 200
    off = (times - true[-len(times) :])[-len(true) + 1000 :]
    assert off.std() < 4.0
    assert np.diff(times).min() > 0.7 * PERIOD
    assert len(ends) * 20 >= len(true)


def test_a_stalled_link_is_no_loss() -> None:
    true = _true(40)
    arrivals, _ = _packets(true, np.random.default_rng(4))
    stall = (arrivals > true[0] + 20_000) & (arrivals < true[0] + 21_500)
    arrivals = np.where(stall, true[0] + 21_500 + np.maximum(arrivals - true[0] - 20_000, 0) / 50, arrivals)
    grid = live(batches_of(np.maximum.accumulate(np.round(arrivals)), _noise(len(true)), 20))
    assert grid.gaps == []
    assert np.all(np.diff(grid.t) == 10)


def test_lost_packets_are_a_gap_of_their_length() -> None:
    true = _true(60)
    arrivals, _ = _packets(true, np.random.default_rng(4))
    kept = (np.arange(len(true)) < 3000) | (np.arange(len(true)) >= 3100)
    times, _ = _times(batches_of(arrivals[kept], _noise(int(kept.sum())), 20))
    off = times - true[kept]
    assert np.abs(off[2000:2990].mean() - off[3200:].mean()) < 15.0
    grid = live(batches_of(arrivals[kept], _noise(int(kept.sum())), 20))
    (gap,) = grid.gaps
    assert abs(gap.to_ms - gap.from_ms - 101 * PERIOD) < 2 * PERIOD


def test_lost_host_stamped_samples_are_skipped_over() -> None:
    true = _true(60)
    stamps_ms = true + np.random.default_rng(6).exponential(3.0, len(true))
    kept = np.ones(len(true), bool)
    kept[[2000, 2500, 3000, 3500]] = False
    kept[4000:4300] = False
    times, stamps = _times(batches_of(stamps_ms[kept], _noise(int(kept.sum())), 20))
    assert stamps.kind is StampKind.HOST
    off = times - true[kept]
    assert np.abs(off[-1000:].mean() - off[1000:1900].mean()) < 1.5


def test_a_host_clock_set_back_begins_anew() -> None:
    true = _true(60)
    stamps_ms = true + np.random.default_rng(6).exponential(3.0, len(true))
    stamps_ms[3000:] -= 5000.0
    grid = live(batches_of(stamps_ms, _noise(len(true)), 20))
    assert abs(grid.shift_ms - 5000.0) < 30.0
    assert grid.gaps == []


def test_one_packet_alone_is_told_at_a_guessed_rate() -> None:
    grid = live([(np.full(20, 1.7e12), _noise(20))])
    assert len(grid.t) == 20
    assert grid.t[-1] == 1.7e12
