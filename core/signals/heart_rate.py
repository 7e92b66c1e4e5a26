"""A heart rate from the vertical axis of a chest accelerometer, or the reason why there is none.

No reading rather than a wrong one: the vibration must be strong enough, undisturbed and clearly periodic, two methods
must agree on the rate, and all that for several seconds. No ECG was available for comparison: this is not a medical
device.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.signals.beats import Beats, Rhythm, beat_between, find_beats, rhythm
from core.signals.breathing import breaths_per_minute
from core.signals.filters import BEATS, BODY, HEART, envelope, zero_phase
from core.signals.motion import episodes, moving
from core.signals.quality import Reading, Reason, none
from core.signals.window import regular

Floats = NDArray[np.float64]

LONGEST_S = 30.0
WINDOW_S = 10.0
SHORTEST_S = 8.0

WEAKEST_MS2 = 0.002
"""Least rms of the 5 to 35 Hz band; the weakest chest of 20 recordings had 0.019."""

CALMEST = 2.0
"""Largest ratio of the rms in the body's band to that in the heart's: 0.15 to 1.4 on resting chests, 5 for the gentlest
walk."""

SWING = 0.38
"""Least ratio of the envelope's standard deviation (in the band of beats) to its mean: from 0.44 with a heartbeat, 0.30
in noise."""

STRENGTH = 0.4
HALF = 0.85
SLOWEST, FASTEST = 40.0, 180.0
LIKENESS = 0.7
ANOTHER = 0.85
"""What lies between two beats is one as well: 0.78 at most in 905 good windows of 17 recordings, 0.93 and more where
each second beat of a simulated chest came early."""
COVERED = 0.5
REGULAR = 0.25
"""Least share of the window (COVERED) between beats whose distance is within REGULAR of the median."""

APART_BPM, APART = 3.0, 0.05


class Analysis(NamedTuple):
    """heart_rate: over the last 10 s; breathing_per_minute: over the last 30 s, or None; motion: (from,
    to) in grid ms.
    """

    heart_rate: Reading
    breathing_per_minute: float | None
    motion: tuple[tuple[int, int], ...]


def analyse(t_ms: NDArray[np.int64], az: Floats, *, fs: float = 100.0) -> Analysis:
    """t_ms: rising grid times [n], holes allowed; az: m/s² [n], with or without gravity. The last 30 s are analysed."""
    if not len(t_ms):
        return Analysis(none(Reason.TOO_SHORT), None, ())
    window = regular(t_ms, az, fs, LONGEST_S)
    motion = moving(window, fs)
    disturbed = np.flatnonzero(motion | ~window.known)
    calm_from = int(disturbed[-1]) + 1 if len(disturbed) else 0
    calm = window.x[calm_from:]
    reading = _read(calm[-round(WINDOW_S * fs) :], fs)
    if reading.reason is Reason.TOO_SHORT and motion[-round(WINDOW_S * fs) :].any():
        reading = none(Reason.MOTION)
    breathing = breaths_per_minute(calm, fs) if reading.reason is Reason.GOOD else None
    return Analysis(reading, breathing, episodes(window, motion))


def _read(x: Floats, fs: float) -> Reading:
    """Check gate after gate on one unbroken, undisturbed stretch of at most 10 s."""
    if len(x) < SHORTEST_S * fs:
        return none(Reason.TOO_SHORT)
    if np.ptp(x) == 0.0:
        return none(Reason.FLAT)
    vibration = zero_phase(x, HEART, fs)
    strength = float(vibration.std())
    if strength < WEAKEST_MS2:
        return none(Reason.WEAK)
    if zero_phase(x, BODY, fs, order=2).std() > CALMEST * strength:
        return none(Reason.MOTION)
    amplitude = envelope(vibration)
    amplitude = np.minimum(amplitude, 1.5 * np.quantile(amplitude, 0.98))
    swell = zero_phase(amplitude, BEATS, fs, order=2)
    repeats = rhythm(swell, fs)
    if repeats is None or repeats.strength < STRENGTH or swell.std() < SWING * amplitude.mean():
        return none(Reason.NO_RHYTHM, max(repeats.strength, 0.0) if repeats else 0.0)
    beats = find_beats(vibration, swell, fs)
    if beats is not None and beat_between(vibration, beats, fs) > ANOTHER:
        return none(Reason.HALF_OR_DOUBLE, 0.0)
    return _count(repeats, beats, len(x) / fs, fs)


def _count(repeats: Rhythm, beats: Beats | None, seconds: float, fs: float) -> Reading:
    """Count the beats, and accept the rate only if both estimates agree."""
    rate = 60.0 / repeats.period_s
    if not SLOWEST <= rate <= FASTEST:
        return none(Reason.OUT_OF_RANGE, 0.0)
    if repeats.half > HALF * repeats.strength:
        return none(Reason.HALF_OR_DOUBLE, 0.0)
    if beats is None:
        return none(Reason.DISAGREEMENT, 0.0)
    likeness = float(np.median(beats.likeness))
    quality = min(repeats.strength, likeness, 1.0)
    apart = np.diff(beats.at) / fs
    middle = float(np.median(apart))
    steady = apart[np.abs(apart - middle) <= REGULAR * middle]
    if likeness < LIKENESS or steady.sum() < COVERED * seconds:
        return none(Reason.NO_RHYTHM, quality)
    counted = 60.0 / float(steady.mean())
    if abs(rate - counted) > max(APART_BPM, APART * rate):
        return none(Reason.DISAGREEMENT, quality)
    return Reading(rate, quality, Reason.GOOD, 1000.0 * middle, 1000.0 * float(steady.std()))


CONFIRMATIONS = 3
CONFIRMED_AFTER_MS = 2_000.0
"""A rate is shown once at least three successive analyses agree on it, over two seconds or more."""

OCTAVE_AFTER_MS = 8_000.0
OCTAVE_MEMORY_MS = 30_000.0
"""A sudden halving or doubling of the rate shown is far more often a miscount than a change of the heart; it must last
longer."""

HELD_FOR_MS = 3_000.0
SOFT = (Reason.NO_RHYTHM, Reason.DISAGREEMENT, Reason.HALF_OR_DOUBLE)
"""Reasons that a single irregular beat can cause; for HELD_FOR_MS the previous rate stays, marked as held."""

SAME_BPM, SAME = 5.0, 0.08


class HeartTracker:
    """Consistency over time: a rate is shown only when confirmed, and disappears soon after it can no longer be
    measured.
    """

    def __init__(self) -> None:
        self._run: deque[tuple[float, float]] = deque(maxlen=32)
        self._shown: tuple[float, Reading] | None = None

    def update(self, analysis: Analysis, now_ms: float) -> Reading:
        """The reading to show for the latest analysis. Called about once a second, with now_ms rising."""
        reading = analysis.heart_rate
        if reading.bpm is None:
            return self._without(reading, now_ms)
        if self._run and not _same(self._run[-1][1], reading.bpm):
            self._run.clear()
        self._run.append((now_ms, reading.bpm))
        if len(self._run) < CONFIRMATIONS or now_ms - self._run[0][0] < self._patience(reading.bpm, now_ms):
            return none(Reason.UNCONFIRMED, reading.quality)
        self._shown = now_ms, reading
        return reading

    def _patience(self, bpm: float, now_ms: float) -> float:
        if self._shown is None or now_ms - self._shown[0] > OCTAVE_MEMORY_MS:
            return CONFIRMED_AFTER_MS
        before = self._shown[1].bpm or bpm
        octave = _same(2.0 * before, bpm) or _same(before, 2.0 * bpm)
        return OCTAVE_AFTER_MS if octave else CONFIRMED_AFTER_MS

    def _without(self, reading: Reading, now_ms: float) -> Reading:
        if reading.reason not in SOFT or self._shown is None or now_ms - self._shown[0] > HELD_FOR_MS:
            self._run.clear()
            return reading
        return self._shown[1]._replace(reason=Reason.HELD, quality=reading.quality)


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= max(SAME_BPM, SAME * min(a, b))
