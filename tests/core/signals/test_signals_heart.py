"""Heart rates of made signals whose truth is known, and none of signals that hold no heart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import cycle

import numpy as np
import pytest
from scipy import signal

from core.signals.heart_rate import Analysis, HeartTracker, analyse
from core.signals.quality import Reading, Reason, none
from firmware_bridge.physiology import Heart, Seismocardiogram
from tests.core.signals.scg_recordings import batches_of, live

FS = 100
Maker = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def _chest(bpm: float, seconds: float, *, second: float = 0.4, seed: int = 0, breaths: float = 15.0) -> np.ndarray:
    """Two bursts a beat, beat-to-beat variation, breathing as tilt and as swell, the sensor's noise; m/s²."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * FS)) / FS
    breath = np.sin(2 * np.pi * breaths / 60 * t)
    x = 9.81 + 0.05 * breath + 0.01 * rng.normal(size=len(t))
    at = 0.3
    while at < seconds:
        swell = 0.1 * (1 + 0.2 * np.sin(2 * np.pi * breaths / 60 * at))
        x += swell * np.exp(-(((t - at - 0.06) / 0.035) ** 2)) * np.sin(2 * np.pi * 11 * (t - at))
        close = at + 0.2 + 0.12 * min(1.0, 60 / bpm)
        x += second * swell * np.exp(-(((t - close - 0.05) / 0.025) ** 2)) * np.sin(2 * np.pi * 20 * (t - close))
        at += 60 / bpm * (1 + 0.02 * np.sin(2 * np.pi * breaths / 60 * at) + 0.01 * rng.normal())
    return x


def _watch(x: np.ndarray, start_ms: int = 0) -> list[tuple[Analysis, Reading]]:
    t = start_ms + 10 * np.arange(len(x))
    tracker, seen = HeartTracker(), []
    for end in range(FS, len(x) + 1, FS):
        found = analyse(t[max(0, end - 3000) : end], x[max(0, end - 3000) : end])
        seen.append((found, tracker.update(found, float(t[end - 1]))))
    return seen


@pytest.mark.parametrize("bpm", [42, 50, 60, 72, 85, 100, 120, 150, 175])
def test_the_rate_of_a_chest(bpm: int) -> None:
    shown = [reading for _, reading in _watch(_chest(bpm, 20.0))]
    rates = [reading.bpm for reading in shown if reading.bpm is not None]
    assert len(rates) >= 5
    assert max(abs(rate - bpm) for rate in rates) < max(2.5, 0.03 * bpm)
    good = [reading for reading in shown if reading.reason is Reason.GOOD]
    assert all(0.4 <= reading.quality <= 1.0 for reading in good)
    assert abs(np.median([reading.beat_ms or 0.0 for reading in good]) - 60_000 / bpm) < 0.05 * 60_000 / bpm


@pytest.mark.parametrize("bpm", [30, 36, 190, 215])
def test_rates_out_of_range_are_not_folded_into_it(bpm: int) -> None:
    assert all(reading.bpm is None for _, reading in _watch(_chest(bpm, 20.0)))


@pytest.mark.parametrize("bpm", [65, 80, 95, 110, 130])
def test_a_second_sound_as_strong_as_the_first_never_doubles_or_halves(bpm: int) -> None:
    rates = [reading.bpm for _, reading in _watch(_chest(bpm, 20.0, second=1.0)) if reading.bpm is not None]
    assert all(abs(rate - bpm) < 4.0 for rate in rates)


class _Bigeminy(Heart):
    """Each second beat comes after `early` seconds, the next after `late`."""

    def __init__(self, early: float, late: float) -> None:
        self._now, self._intervals = 0.3, cycle((early, late))

    def beat(self) -> tuple[float, float]:
        now, interval = self._now, next(self._intervals)
        self._now += interval
        return now, interval


@pytest.mark.parametrize(("early", "late"), [(0.38, 0.62), (0.45, 0.75), (0.5, 0.7)])
def test_a_heart_whose_second_beats_come_early_is_not_shown_at_half_its_rate(early: float, late: float) -> None:
    chest = Seismocardiogram(seed=1)
    chest._heart = _Bigeminy(early, late)
    felt = chest.at(np.arange(20 * FS) / FS)[:, 2] * 9.80665
    rates = [reading.bpm for _, reading in _watch(felt + np.random.default_rng(1).normal(0, 0.01, len(felt)))]
    assert all(rate is None or abs(rate - 120 / (early + late)) < 6.0 for rate in rates)


def _noise_in(rng: np.random.Generator, n: int, low: float, high: float) -> np.ndarray:
    sections = signal.butter(2, [low, high], btype="bandpass", fs=FS, output="sos")
    return np.asarray(signal.sosfilt(sections, rng.normal(size=n + 500))[500:])


def _thumps(rng: np.random.Generator, t: np.ndarray, at: np.ndarray, height: float) -> np.ndarray:
    x = 0.005 * rng.normal(size=len(t))
    for when in at:
        late = np.maximum(t - when, 0.0)
        x += height * rng.uniform(0.5, 1.5) * np.exp(-late * 16) * np.sin(75 * late)
    return x


def _steps(rng: np.random.Generator, t: np.ndarray, height: float) -> np.ndarray:
    parts = ((1, 1.5, 0.0), (2, 0.8, 1.0), (3, 0.4, 2.0), (4, 0.2, 0.5), (6, 0.1, 1.0))
    walk = sum(a * np.sin(2 * np.pi * 1.7 * k * t + p) for k, a, p in parts)
    return 9.81 + height * (walk + 0.07 * rng.normal(size=len(t)))


def _hum(rng: np.random.Generator, t: np.ndarray, hertz: float) -> np.ndarray:
    return 0.05 * np.sin(2 * np.pi * hertz * t) + 0.004 * rng.normal(size=len(t))


HEARTLESS: dict[str, tuple[Maker, set[Reason]]] = {
    "white noise": (lambda rng, t: 0.01 * rng.normal(size=len(t)), {Reason.NO_RHYTHM}),
    "a phone on a table": (lambda rng, t: 9.81 + 0.007 * rng.normal(size=len(t)), {Reason.NO_RHYTHM}),
    "a coarse phone on a table": (
        lambda rng, t: np.round((9.81 + 0.007 * rng.normal(size=len(t))) / 0.0189) * 0.0189,
        {Reason.NO_RHYTHM},
    ),
    "a quiet sensor on a table": (lambda rng, t: 9.81 + 0.001 * rng.normal(size=len(t)), {Reason.WEAK}),
    "flat line": (lambda _, t: np.full(len(t), 9.81), {Reason.FLAT}),
    "breathing alone": (lambda _, t: 0.1 * np.sin(2 * np.pi * 0.25 * t), {Reason.WEAK}),
    "noise that swells with breath": (
        lambda rng, t: 0.02 * (1 + 0.8 * np.sin(2 * np.pi * 0.25 * t)) * rng.normal(size=len(t)),
        {Reason.NO_RHYTHM},
    ),
    "walking": (lambda rng, t: _steps(rng, t, 1.0), {Reason.MOTION}),
    "a rocking chair": (lambda rng, t: _steps(rng, t, 0.05), {Reason.MOTION, Reason.NO_RHYTHM}),
    "heavy regular steps": (
        lambda rng, t: np.sin(2 * np.pi * 1.7 * t) + _thumps(rng, t, np.arange(0.2, t[-1], 1 / 1.7), 2.0),
        {Reason.MOTION},
    ),
    "mains hum": (lambda rng, t: _hum(rng, t, 49.97), {Reason.NO_RHYTHM}),
    "folded hum": (lambda rng, t: _hum(rng, t, 23.5), {Reason.NO_RHYTHM}),
    "a resonance": (lambda rng, t: _noise_in(rng, len(t), 9.0, 11.0), {Reason.NO_RHYTHM}),
    "random knocks": (lambda rng, t: _thumps(rng, t, np.cumsum(rng.exponential(0.9, 80)), 0.1), {Reason.NO_RHYTHM}),
}


@pytest.mark.parametrize("what", HEARTLESS)
def test_no_rate_where_there_is_no_heart(what: str) -> None:
    make, reasons = HEARTLESS[what]
    seen: Counter[Reason] = Counter()
    for found, shown in _watch(make(np.random.default_rng(0), np.arange(5000) / FS)):
        assert shown.bpm is None, what
        assert found.breathing_per_minute is None
        seen[found.heart_rate.reason] += 1
    assert seen.most_common(1)[0][0] in reasons


def test_hum_that_a_sensor_folds_and_the_grid_beats_with() -> None:
    """50 Hz seen at 98.7 Hz stands at 48.7: on the grid it swells 1.3 times a second, as a heart might."""
    t = np.arange(0.0, 40_000.0, 1000.0 / 98.7)
    hum = 0.2 * np.sin(2e-3 * np.pi * 50.0 * t) + 0.003 * np.random.default_rng(0).normal(size=len(t))
    grid = live(batches_of(t, hum, 20))
    assert all(reading.bpm is None for _, reading in _watch(grid.values))


def test_every_reason_says_itself_in_a_sentence() -> None:
    assert len({reason.sentence for reason in Reason}) == len(Reason)
    for reason in Reason:
        assert reason.sentence[0].isupper()
        assert reason.sentence.endswith(".")
        assert Reason(reason.value) is reason


def test_nothing_yet() -> None:
    empty = analyse(np.empty(0, np.int64), np.empty(0))
    assert empty == Analysis(none(Reason.TOO_SHORT), None, ())
    assert analyse(np.array([10]), np.array([9.8])).heart_rate.reason is Reason.TOO_SHORT


def test_only_what_follows_a_gap_is_counted() -> None:
    x, t = _chest(70, 40.0), 10 * np.arange(4000)
    keep = (t < 20_000) | (t >= 23_000)
    for end_ms, reason in ((26_000, Reason.TOO_SHORT), (33_000, Reason.GOOD)):
        now = keep & (t < end_ms)
        assert analyse(t[now], x[now]).heart_rate.reason is reason


def test_stamps_hours_apart_cost_no_memory() -> None:
    t = np.concatenate([10 * np.arange(500), 10**13 + 10 * np.arange(1000)])
    found = analyse(t, np.concatenate([_chest(70, 5.0), _chest(70, 10.0)]))
    assert found.heart_rate.reason is Reason.GOOD


def test_motion_is_flagged_where_it_was_and_hides_the_rate_until_it_is_past() -> None:
    x, t = _chest(70, 40.0), np.arange(4000) / FS
    shaken = (t > 20) & (t < 23)
    x[shaken] += 1.5 * np.sin(2 * np.pi * 2.0 * t[shaken])
    seen = _watch(x)
    assert seen[18][1].reason is Reason.GOOD
    assert {seen[s][1].reason for s in (22, 25, 28)} == {Reason.MOTION}
    assert seen[38][1].reason is Reason.GOOD
    ((start, end),) = seen[28][0].motion
    assert abs(start - 20_000) <= 1000
    assert abs(end - 23_000) <= 1000
    assert seen[18][0].motion == ()


@pytest.mark.parametrize("breaths", [10.0, 15.0, 24.0])
def test_breathing_where_both_traces_show_it(breaths: float) -> None:
    found = [analysis.breathing_per_minute for analysis, _ in _watch(_chest(70, 45.0, breaths=breaths))]
    told = [rate for rate in found if rate is not None]
    assert len(told) >= 3
    assert max(abs(rate - breaths) for rate in told) < 1.5
    assert all(rate is None for rate in found[:24])


def test_gravity_and_its_absence_give_the_same() -> None:
    x, t = _chest(70, 20.0), 10 * np.arange(2000)
    with_gravity, without = analyse(t, x), analyse(t, x - 9.81)
    assert with_gravity.heart_rate.bpm == pytest.approx(without.heart_rate.bpm, abs=1e-6)


def _read(bpm: float | None, reason: Reason = Reason.GOOD) -> Analysis:
    return Analysis(Reading(bpm, 0.8, reason) if bpm else none(reason), None, ())


def _follow(readings: list[Analysis], every_ms: float = 1000.0) -> list[Reading]:
    tracker = HeartTracker()
    return [tracker.update(reading, every_ms * i) for i, reading in enumerate(readings)]


def test_a_rate_is_shown_once_confirmed() -> None:
    shown = _follow([_read(70.0), _read(71.0), _read(70.5), _read(70.0)])
    assert [reading.reason for reading in shown] == [Reason.UNCONFIRMED] * 2 + [Reason.GOOD] * 2
    assert shown[2].bpm == 70.5


def test_many_analyses_at_once_confirm_nothing() -> None:
    assert all(reading.bpm is None for reading in _follow([_read(70.0)] * 10, every_ms=100.0))


def test_a_jump_is_confirmed_anew_and_an_octave_longer() -> None:
    jump = _follow([*[_read(70.0)] * 5, *[_read(95.0)] * 12])
    octave = _follow([*[_read(70.0)] * 5, *[_read(140.0)] * 12])
    assert [reading.bpm for reading in jump[5:8]] == [None, None, 95.0]
    assert [reading.bpm for reading in octave[5:13]] == [None] * 8
    assert octave[13].bpm == 140.0


def test_a_flicker_is_bridged_for_three_seconds_and_says_so() -> None:
    shown = _follow([*[_read(70.0)] * 5, *[_read(None, Reason.NO_RHYTHM)] * 6])
    assert [reading.reason for reading in shown[5:]] == [Reason.HELD] * 3 + [Reason.NO_RHYTHM] * 3
    assert shown[6].bpm == 70.0


@pytest.mark.parametrize("reason", [Reason.MOTION, Reason.FLAT, Reason.WEAK, Reason.TOO_SHORT, Reason.OUT_OF_RANGE])
def test_nothing_is_held_through_what_takes_the_heart_away(reason: Reason) -> None:
    shown = _follow([*[_read(70.0)] * 5, _read(None, reason), _read(70.0)])
    assert shown[5] == none(reason)
    assert shown[6].reason is Reason.UNCONFIRMED
