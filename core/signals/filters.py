"""The frequency bands of a chest accelerometer's signal, and filters that do not shift it in time.

Breathing, beats and the heart's vibration share one axis but occupy different bands. Each is extracted by itself, and
nothing is high-passed before breathing has been read. The filters take whole windows and have no delay.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

Floats = NDArray[np.float64]


class Band(NamedTuple):
    """Edges in Hz, where the gain is -6 dB after filtering forwards and backwards."""

    low: float
    high: float


BREATHING = Band(0.1, 0.6)
"""6 to 36 breaths per minute: the adult range with room at both ends."""

BODY = Band(0.7, 4.0)
"""Steps, turning over, speech: above breathing, and below most of a beat's vibration."""

BEATS = Band(0.5, 6.0)
"""Band for the vibration's envelope: 30 beats per minute to the first harmonics of fast rates."""

HEART = Band(5.0, 35.0)
"""Vibration of valves and heart walls. O. T. Inan et al., "Ballistocardiography and seismocardiography: a review of
recent advances", IEEE J. Biomed. Health Inform. 19(4), 2015; A. Taebi et al., "Recent advances in
seismocardiography", Vibration 2(1), 2019: most energy lies below 40 Hz; below 5 Hz breathing and movement dominate."""


@lru_cache(maxsize=32)
def _sections(band: Band, fs: float, order: int) -> Floats:
    sections: Floats = signal.butter(order, band, btype="bandpass", fs=fs, output="sos")
    return sections


def zero_phase(x: Floats, band: Band, fs: float, *, order: int = 3) -> Floats:
    """x [n] limited to the band, without delay: Butterworth forwards and backwards, after removing the mean.

    Source: F. Gustafsson, IEEE Trans. Signal Process. 44(4), 1996. About one period of the lower edge is unreliable at
    either end.
    """
    filtered: Floats = signal.sosfiltfilt(_sections(band, fs, order), x - x.mean())
    return filtered


def envelope(x: Floats) -> Floats:
    """Instantaneous amplitude of a band-passed signal: the magnitude of its analytic signal."""
    magnitude: Floats = np.abs(signal.hilbert(x))
    return magnitude
