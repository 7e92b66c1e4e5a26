"""The simulated chest: the rate asked for, the truth told, the sizes of a real one, the same from any seed twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, hilbert, sosfiltfilt

from firmware_bridge.errors import SimulationError
from firmware_bridge.physiology import KEPT_TRUTH, Seismocardiogram

FS = 200.0


def rate_by_autocorrelation(z: np.ndarray, fs: float) -> float:
    """Beats a minute by the envelope's autocorrelation, written apart from the project's own heart rate."""
    band = sosfiltfilt(butter(2, (5, 35), "bandpass", fs=fs, output="sos"), z)
    envelope = sosfiltfilt(butter(2, (0.5, 6), "bandpass", fs=fs, output="sos"), np.abs(hilbert(band)))
    spectrum = np.fft.rfft(envelope, 2 * len(envelope))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: len(envelope)]
    lags = np.arange(int(fs * 60 / 200), int(fs * 60 / 35))
    best = correlation[lags].max()
    first = next(lag for lag in lags if correlation[lag] > 0.8 * best and correlation[lag] >= correlation[lag + 1])
    return 60 * fs / first


@pytest.mark.parametrize("bpm", [42.0, 64.0, 97.0, 150.0])
def test_an_autocorrelation_finds_the_rate_that_was_set(bpm: float) -> None:
    signal = Seismocardiogram(bpm, seed=5)
    t = np.arange(0, 60, 1 / FS)
    felt = signal.at(t)
    assert rate_by_autocorrelation(felt[:, 2], FS) == pytest.approx(bpm, rel=0.06)
    beats = np.array(signal.take_beats(60))
    assert 60 / np.diff(beats).mean() == pytest.approx(bpm, rel=0.02)


def test_beats_are_told_where_the_aortic_valve_peak_is() -> None:
    signal = Seismocardiogram(70, seed=2)
    t = np.arange(0, 30, 0.001)
    z = signal.at(t)[:, 2]
    beats = np.array(signal.take_beats(29.5))
    beats = beats[beats > 0.2]
    for beat in beats:
        near = np.abs(t - beat) < 0.15
        assert abs(t[near][np.argmax(z[near])] - beat) < 0.006


def test_sizes_of_a_real_chest() -> None:
    felt = Seismocardiogram(64, seed=1).at(np.arange(0, 60, 1 / FS))
    assert np.linalg.norm(felt, axis=1).mean() == pytest.approx(1.0, abs=0.01)
    beating = felt[:, 2] - np.median(felt[:, 2])
    assert 0.015 < np.percentile(np.abs(beating).reshape(60, -1).max(axis=1), 50) < 0.040


def test_breathing_moves_rate_strength_and_posture() -> None:
    signal = Seismocardiogram(64, breaths_per_minute=15, seed=3)
    t = np.arange(0, 120, 1 / FS)
    felt = signal.at(t)
    beats = np.array(signal.take_beats(119))
    heights = np.interp(beats, t, felt[:, 2]) - np.median(felt[:, 2])
    posture = sosfiltfilt(butter(2, 0.5, fs=FS, output="sos"), felt[:, 1])
    for values, times in ((np.diff(beats), beats[:-1]), (heights, beats), (posture[::20], t[::20])):
        assert _strongest_hz(values, times, 0.15, 0.45) == pytest.approx(0.25, abs=0.02)


def test_metronome() -> None:
    signal = Seismocardiogram(60, variation=0.0)
    signal.at(np.array([20.0]))
    assert np.ptp(np.diff(signal.take_beats(20))) < 1e-9


@settings(max_examples=25)
@given(st.lists(st.floats(0, 20), max_size=20), st.integers(0, 3))
def test_the_same_in_any_portions(cuts: list[float], seed: int) -> None:
    t = np.arange(0, 20, 0.01)
    whole, parts = (Seismocardiogram(80, seed=seed, motion_every_s=4) for _ in range(2))
    expected = whole.at(t)
    found = [parts.at(part) for part in np.split(t, np.searchsorted(t, sorted(cuts)))]
    assert np.allclose(np.concatenate(found), expected, atol=1e-12)
    assert parts.take_beats(19) == whole.take_beats(19)
    assert parts.take_movements(19) == whole.take_movements(19)


def test_movements_come_when_told_and_are_told() -> None:
    signal = Seismocardiogram(64, motion_every_s=20)
    signal.move(5.0, 1.5)
    t = np.arange(0, 60, 0.01)
    loud = np.abs(signal.at(t)[:, 2] - 1) > 0.06
    moves = signal.take_movements(59)
    assert [start for start, _ in moves] == [5.0, 20.0, 40.0]
    inside = np.any([(start <= t) & (t <= end) for start, end in moves], axis=0)
    assert loud[inside].sum() > 50
    assert not loud[~inside].any()


def test_nothing_grows_when_nobody_takes_the_truth() -> None:
    signal = Seismocardiogram(200, motion_every_s=10)
    for start in range(0, 1500, 10):
        signal.at(np.arange(start, start + 10, 0.5))
    assert len(signal.take_beats(np.inf)) == KEPT_TRUTH
    assert len(signal._felt) < 20
    assert len(signal._moves) < 5


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"bpm": 0}, "heart rate of 0 bpm; it goes from 20 to 240"),
        ({"bpm": float("nan")}, "heart rate"),
        ({"breaths_per_minute": 100}, "breathing"),
        ({"variation": -1}, "variation"),
        ({"amplitude": -1}, "amplitude"),
        ({"motion_every_s": -1}, "movements"),
    ],
)
def test_hearts_that_cannot_be_are_refused(setting: dict[str, float], says: str) -> None:
    with pytest.raises(SimulationError, match=says):
        Seismocardiogram(**setting)


def _strongest_hz(values: np.ndarray, times: np.ndarray, least: float, most: float) -> float:
    even = np.arange(times[0], times[-1], 0.25)
    level = np.interp(even, times, values)
    spectrum = np.abs(np.fft.rfft((level - level.mean()) * np.hanning(len(level)), 8192))
    hz = np.fft.rfftfreq(8192, 0.25)
    inside = (hz > least) & (hz < most)
    return float(hz[inside][np.argmax(spectrum[inside])])
