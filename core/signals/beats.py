"""Two estimates of the heartbeat from ten seconds of band-passed vibration.

The envelope's autocorrelation gives the rate without locating any beat; template matching locates beats like the most
typical one without assuming a rate. Both use the same signal, so their agreement is necessary, but proves nothing.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

Floats = NDArray[np.float64]

FASTEST_S = 0.25
SLOWEST_S = 1.8
"""Range of lags, 33 to 240 per minute: wider than the range shown, so that its edge is not taken for a peak."""

REFRACTORY_S = 0.3
"""Least time between two beats: 200 per minute."""

NEARLY_BEST = 0.9
"""The shortest lag whose correlation is this close to the best wins, as multiples of the beat's period correlate as
well."""

BEFORE_S, AFTER_S = 0.15, 0.6
"""The part around an envelope peak that makes up one beat: systole and the second heart sound, which by itself then
looks different. With 0.12 and 0.25 s it was counted as a beat in half of the records (measured)."""

FEWEST = 4
ALIKE = 0.4
NEARLY_AS_ALIKE = 0.7
"""Correlation with the template needed for a beat: at least ALIKE, and at least this share of the upper quartile."""


CORE_FROM_S, CORE_S = 0.05, 0.3
SOONEST_S = 0.36
"""A beat's core, from 0.1 s before its peak; and how long after it, and before the next, another may begin."""


class Rhythm(NamedTuple):
    """period_s: time after which the envelope repeats; strength: correlation there; half: correlation at half that
    time.
    """

    period_s: float
    strength: float
    half: float


class Beats(NamedTuple):
    """at: sample indices at which beats begin; likeness: each one's correlation with the template."""

    at: NDArray[np.intp]
    likeness: Floats


def rhythm(envelope: Floats, fs: float) -> Rhythm | None:
    """The period at which the envelope [n] repeats, by its unbiased autocorrelation; None if there is no positive peak.

    Autocorrelation of the envelope is the usual first step for SCG without ECG; the choice of the lag is ours.
    """
    r = autocorrelation(envelope)
    lags = signal.find_peaks(r[: int(SLOWEST_S * fs) + 2])[0]
    lags = lags[lags >= FASTEST_S * fs]
    if not len(lags) or (best := float(r[lags].max())) <= 0.0:
        return None
    lag = int(lags[r[lags] >= NEARLY_BEST * best][0])
    middle = lag // 2
    reach = max(1, round(0.06 * middle))
    return Rhythm(_vertex(r, lag) / fs, float(r[lag]), float(r[middle - reach : middle + reach + 1].max()))


def autocorrelation(x: Floats) -> Floats:
    """Unbiased autocorrelation [n] for lags of 0 to n - 1 samples, 1 at lag 0. x [n] must have no mean."""
    n = len(x)
    spectrum = np.fft.rfft(x, 2 * n)
    r = np.fft.irfft(spectrum * spectrum.conj())[:n]
    return np.asarray(r / r[0] * (n / np.arange(n, 0, -1)), dtype=np.float64)


def _vertex(r: Floats, lag: int) -> float:
    """The position of a peak between samples, by a parabola through three points."""
    a, b, c = float(r[lag - 1]), float(r[lag]), float(r[lag + 1])
    bend = a - 2.0 * b + c
    return lag + 0.5 * (a - c) / bend if bend < 0.0 else float(lag)


def find_beats(vibration: Floats, envelope: Floats, fs: float) -> Beats | None:
    """Where the vibration [n] resembles its most typical beat; None with fewer than FEWEST such places.

    Candidates are the positive envelope peaks. The one most like the others is the first template, the median of what
    it matches the second. Nothing is assumed about the rate except REFRACTORY_S.
    """
    before, length = round(BEFORE_S * fs), round((BEFORE_S + AFTER_S) * fs)
    peaks = signal.find_peaks(envelope, distance=REFRACTORY_S * fs, height=0.0)[0] - before
    pieces = _pieces(vibration, peaks, length)
    if len(pieces) < FEWEST:
        return None
    unit = pieces - pieces.mean(axis=1, keepdims=True)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True) + 1e-12
    template = pieces[int(np.argmax(_upper_half(unit @ unit.T)))]
    beats = _matches(vibration, template, fs)
    if beats is None:
        return None
    return _matches(vibration, np.median(_pieces(vibration, beats.at, length), axis=0), fs)


def beat_between(vibration: Floats, beats: Beats, fs: float) -> float:
    """How like the core of a beat the likest moment until the next is, the median; 0 where beats leave no room for one.

    Where each second beat comes early (bigeminy), both opinions take two beats for one, and agree on half the rate.
    """
    first, length, soonest = round(CORE_FROM_S * fs), round(CORE_S * fs), round(SOONEST_S * fs)
    found = []
    for here, after in pairwise(beats.at + first):
        room = after - here > 2 * soonest
        between = vibration[here + soonest : after - soonest + length]
        found.append(float(_likeness(between, vibration[here : here + length]).max()) if room else 0.0)
    return float(np.median(found)) if found else 0.0


def _matches(vibration: Floats, template: Floats, fs: float) -> Beats | None:
    likeness = _likeness(vibration, template)
    at = signal.find_peaks(likeness, distance=REFRACTORY_S * fs, height=ALIKE)[0]
    if len(at) < FEWEST:
        return None
    at = at[likeness[at] >= NEARLY_AS_ALIKE * np.quantile(likeness[at], 0.75)]
    return Beats(at, likeness[at]) if len(at) >= FEWEST else None


def _upper_half(alike: Floats) -> Floats:
    """For each piece, its mean likeness to the more similar half of all pieces, so that a second kind of peak does not
    count.
    """
    ranked = np.sort(alike, axis=1)
    return np.asarray(ranked[:, alike.shape[1] // 2 :].mean(axis=1), dtype=np.float64)


def _pieces(x: Floats, at: NDArray[np.intp], length: int) -> Floats:
    inside = at[(at >= 0) & (at + length <= len(x))]
    return np.asarray(x[inside[:, None] + np.arange(length)], dtype=np.float64)


def _likeness(x: Floats, template: Floats) -> Floats:
    """Normalised cross-correlation of the template with x at every offset."""
    n = len(template)
    shape = template - template.mean()
    sums = np.cumsum(np.concatenate(([0.0], x)))
    squares = np.cumsum(np.concatenate(([0.0], x * x)))
    spread = squares[n:] - squares[:-n] - (sums[n:] - sums[:-n]) ** 2 / n
    scale = np.sqrt(np.maximum(spread, 1e-12 * max(float(squares[-1]), 1e-30))) * np.linalg.norm(shape)
    return np.asarray(np.correlate(x, shape, "valid") / np.maximum(scale, 1e-30), dtype=np.float64)
