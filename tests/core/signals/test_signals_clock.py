"""The device clock against simulated truth: any skew, delays as of USB and BLE, losses, an early liar, restarts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.signals.clock import DeviceClock, PacketClock

RATE = 197.3
PACKET = 20
PERIOD_NS = 1e9 / RATE


class Link(NamedTuple):
    """least: what every packet is late by, ns; interval: the radio's connection interval or 0 for a wire."""

    least: float
    mean: float
    interval: float


USB = Link(1e6, 1e6, 0.0)
BLE_FAST = Link(0.0, 2e6, 7.5e6)
BLE_SLOW = Link(0.0, 5e6, 30e6)


class Run(NamedTuple):
    ticks: np.ndarray
    true_ns: np.ndarray
    arrivals_ns: np.ndarray


def _run(seed: int, link: Link, ppm: float, *, seconds: float = 90.0, first_tick: int = 0, loss: float = 0.02) -> Run:
    """Ticks of 1 us of each packet's newest sample, its true host time, its arrival; lost packets left out."""
    rng = np.random.default_rng(seed)
    newest = (np.arange(int(seconds * RATE / PACKET)) * PACKET + PACKET - 1) * PERIOD_NS
    true = 5e12 + newest
    arrivals = true + link.least + rng.exponential(link.mean, len(true))
    if link.interval:
        arrivals = np.ceil(arrivals / link.interval) * link.interval
    kept = rng.random(len(true)) >= loss
    ticks = first_tick + np.rint(newest * (1 + ppm * 1e-6) / 1000.0).astype(np.int64)
    return Run(ticks[kept], true[kept], np.maximum.accumulate(arrivals)[kept].astype(np.int64))


def _errors_ms(clock: DeviceClock, run: Run) -> np.ndarray:
    """Feed packet by packet; error of each packet's newest sample at the moment it came; times must always rise."""
    errors, last = [], -np.inf
    inside = np.rint(np.arange(PACKET)[::-1] * PERIOD_NS / 1000.0).astype(np.int64)
    for tick, true, arrival in zip(run.ticks.tolist(), run.true_ns, run.arrivals_ns.tolist(), strict=True):
        clock.observe(tick, arrival)
        times = clock.to_ns(tick - inside)
        assert np.all(np.diff(times) > 0)
        assert times[0] > last
        last = times[-1]
        errors.append((times[-1] - true) / 1e6)
    return np.array(errors)


@settings(max_examples=20)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(USB, 1.0, 0.2), (BLE_FAST, 0.3, 2.5), (BLE_SLOW, 0.9, 10.0)]),
    st.floats(-100, 100),
    st.integers(0, 2**62),
)
def test_any_skew_on_any_link(seed: int, expected: tuple[Link, float, float], ppm: float, first_tick: int) -> None:
    """After 30 s. Of 300 runs over each link the worst stayed within half to two thirds of these bounds."""
    link, bias, reach = expected
    clock = DeviceClock(1000.0)
    errors = _errors_ms(clock, _run(seed, link, ppm, first_tick=first_tick))
    settled = errors[len(errors) // 3 :]
    assert abs(settled.mean() - bias) < reach / 2
    assert np.abs(settled - settled.mean()).max() < reach
    assert clock.error_ms is not None
    assert clock.error_ms >= settled.std()
    assert clock.segment == 1


def test_from_the_first_packet_on() -> None:
    clock = DeviceClock(1000.0)
    assert clock.observe(500, 10**12) is False
    assert clock.error_ms is None
    assert clock.to_ns(np.array([400, 500])).tolist() == [1e12 - 1e5, 1e12]


def test_nothing_observed_is_an_error() -> None:
    with pytest.raises(ValueError, match="observe"):
        DeviceClock(1000.0).to_ns(np.array([1]))


def test_an_early_liar_moves_nothing() -> None:
    run = _run(3, USB, 40.0)
    arrivals = run.arrivals_ns.copy()
    arrivals[400] -= 500_000_000
    errors = _errors_ms(DeviceClock(1000.0), run._replace(arrivals_ns=arrivals))
    assert np.abs(errors[100:] - 1.0).max() < 0.5


def test_a_restarted_device_begins_a_segment() -> None:
    before, after = _run(1, USB, 20.0, seconds=20.0), _run(2, USB, 20.0, seconds=30.0)
    clock = DeviceClock(1000.0)
    _errors_ms(clock, before)
    shift = 25_000_000_000
    assert clock.observe(int(after.ticks[0]), int(after.arrivals_ns[0]) + shift) is True
    assert clock.error_ms is None
    again = after._replace(true_ns=after.true_ns + shift, arrivals_ns=after.arrivals_ns + shift)
    errors = _errors_ms(clock, again)
    assert clock.segment == 2
    assert np.abs(errors[100:] - 1.0).max() < 0.3


def test_a_counter_that_leaps_ahead_begins_a_segment() -> None:
    run = _run(1, USB, 0.0, seconds=20.0)
    ticks = run.ticks.copy()
    ticks[100:] += 3_600_000_000
    clock = DeviceClock(1000.0)
    errors = _errors_ms(clock, run._replace(ticks=ticks))
    assert clock.segment == 2
    assert np.abs(errors[150:] - 1.0).max() < 0.5


def test_a_counter_that_stood_still_begins_a_segment_but_a_stalled_link_does_not() -> None:
    run = _run(1, USB, 0.0, seconds=60.0)
    paused = run._replace(
        true_ns=np.where(np.arange(len(run.true_ns)) < 200, run.true_ns, run.true_ns + 8e9),
        arrivals_ns=np.where(np.arange(len(run.true_ns)) < 200, run.arrivals_ns, run.arrivals_ns + 8_000_000_000),
    )
    clock = DeviceClock(1000.0)
    assert np.abs(_errors_ms(clock, paused)[300:] - 1.0).max() < 0.5
    assert clock.segment == 2
    stalled = run.arrivals_ns.copy()
    end = run.arrivals_ns[280]
    stalled[200:280] = end - 40_000_000 + np.arange(80) * 500_000
    clock = DeviceClock(1000.0)
    assert np.abs(_errors_ms(clock, run._replace(arrivals_ns=stalled))[100:] - 1.0).max() < 0.5
    assert clock.segment == 1


def test_a_64_bit_counter_wraps() -> None:
    run = _run(1, USB, 30.0, seconds=20.0)
    clock = DeviceClock(1000.0)
    wrapped = [(2**64 - 10_000_000 + int(tick)) % 2**64 for tick in run.ticks]
    errors = []
    for tick, true, arrival in zip(wrapped, run.true_ns, run.arrivals_ns.tolist(), strict=True):
        clock.observe(tick, arrival)
        errors.append((float(clock.to_ns(np.array([tick], dtype=np.uint64))[0]) - true) / 1e6)
    assert clock.segment == 1
    assert np.abs(np.array(errors)[100:] - 1.0).max() < 0.5


def test_a_tick_told_twice_is_ignored() -> None:
    clock = DeviceClock(1000.0)
    clock.observe(1000, 10**12)
    assert clock.observe(1000, 10**12 + 10**9) is False
    assert clock.to_ns(np.array([1000]))[0] == 1e12


def test_a_known_delay_is_taken_off_smoothly() -> None:
    run = _run(1, USB, 0.0, seconds=40.0)
    half = len(run.ticks) // 2
    clock = DeviceClock(1000.0)
    early = _errors_ms(clock, Run(*(column[:half] for column in run)))
    clock.set_delay(1e6)
    late = _errors_ms(clock, Run(*(column[half:] for column in run)))
    assert abs(early[-1] - 1.0) < 0.1
    assert abs(late[-1]) < 0.1
    assert abs(late[0] - early[-1]) < 0.2, "no jump: it wears off over a second"


def test_sensor_rate_far_from_nominal() -> None:
    """A counter of samples ticks as its oscillator likes: 2 % off."""
    errors = _errors_ms(DeviceClock(1000.0), _run(1, USB, 20_000.0))
    assert np.abs(errors[200:] - 1.0).max() < 0.6


@pytest.mark.parametrize(("rate", "nominal", "size"), [(98.7, 100.0, 20), (203.0, 200.0, 10), (200.0, 200.0, 1)])
def test_packets_without_a_counter(rate: float, nominal: float, size: int) -> None:
    rng = np.random.default_rng(8)
    newest = 1e12 + (np.arange(int(60 * rate / size)) * size + size - 1) * 1e9 / rate
    arrivals = np.maximum.accumulate(np.ceil((newest + rng.exponential(5e6, len(newest))) / 15e6) * 15e6)
    clock, errors, last = PacketClock(nominal), [], -np.inf
    for true, arrival in zip(newest, arrivals.astype(np.int64).tolist(), strict=True):
        times = clock.observe(size, arrival)
        assert len(times) == size
        assert np.all(np.diff(times) > 0)
        assert times[0] > last
        last = times[-1]
        errors.append((times[-1] - true) / 1e6)
    settled = np.array(errors[len(errors) // 4 :])
    assert settled.std() < 2.0
    assert 0.0 < settled.mean() < 15.0
    assert clock.error_ms is not None


def test_packets_that_never_came_are_skipped_over() -> None:
    newest = 1e12 + (np.arange(600) * 20 + 19) * 1e7
    arrivals = newest + np.random.default_rng(8).exponential(5e6, len(newest))
    clock = PacketClock(100.0)
    errors = [(clock.observe(20, int(arrivals[i]))[-1] - newest[i]) / 1e6 for i in range(600) if not 300 <= i < 305]
    assert np.abs(np.array(errors)[310:]).max() < 20.0
    assert min(errors[295:310]) < -900.0, "three packets are still told a second early before it is known"
