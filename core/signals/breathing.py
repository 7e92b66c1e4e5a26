"""Breathing rate, given only where two traces of breathing in the same axis agree.

With each breath the chest tilts and rises (slow acceleration), and the heart's vibration grows and shrinks (amplitude
of its envelope). Either alone finds rhythms in noise. There was no reference recording to calibrate against.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from core.signals.beats import autocorrelation
from core.signals.filters import BREATHING, HEART, envelope, zero_phase

Floats = NDArray[np.float64]

SHORTEST_S = 25.0
EDGE_S = 1.0
STRENGTH = 0.45
APART = 2.0
"""Both traces must repeat with at least STRENGTH, at rates at most this far apart, in breaths per minute."""


def breaths_per_minute(x: Floats, fs: float) -> float | None:
    """Breaths per minute, 6 to 36, from at least 25 s of undisturbed m/s² [n]; None where it cannot be trusted."""
    if len(x) < SHORTEST_S * fs:
        return None
    strength = envelope(zero_phase(x, HEART, fs))
    tilt = _rate(x, fs)
    swell = _rate(np.minimum(strength, 2.0 * np.quantile(strength, 0.95)), fs)
    if tilt is None or swell is None or abs(tilt - swell) > APART:
        return None
    return (tilt + swell) / 2.0


def _rate(trace: Floats, fs: float) -> float | None:
    edge = round(EDGE_S * fs)
    slow = zero_phase(trace, BREATHING, fs, order=2)[edge:-edge]
    if not slow.any():
        return None
    r = autocorrelation(slow)
    lags = signal.find_peaks(r[: round(fs / BREATHING.low) + 1])[0]
    lags = lags[lags >= fs / BREATHING.high]
    if not len(lags) or r[lags].max() < STRENGTH:
        return None
    return float(60.0 * fs / lags[r[lags] >= 0.85 * r[lags].max()][0])
