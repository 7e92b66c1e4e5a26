"""The bands of a chest accelerometer's signal, and filters that leave the others' content and the timing
alone.

Breathing, beats and the heart's vibration share one axis but not one band: each is taken out by itself, and
nothing is high-passed away before breathing was looked at. Filters here take whole windows and have no delay.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

Floats = NDArray[np.float64]


class Band(NamedTuple):
    """Edges in Hz, -6 dB when filtered forwards and backwards."""

    low: float
    high: float


BREATHING = Band(0.1, 0.6)
"""6 to 36 breaths a minute: the adult's range with room at both ends."""

BODY = Band(0.7, 4.0)
"""Steps, turning over, speech: above breathing, below where most of a beat's vibration lies."""

BEATS = Band(0.5, 6.0)
"""Of the vibration's envelope: 30 beats a minute and their first harmonics."""

HEART = Band(5.0, 35.0)
"""Valve and wall vibration. O. T. Inan et al., "Ballistocardiography and seismocardiography: a review of
recent
advances", IEEE J. Biomed. Health Inform. 19(4), 2015; A. Taebi et al., "Recent advances in
seismocardiography", Vibration 2(1), 2019: most energy lies below 40 Hz; below 5 Hz breathing and movement
outweigh it."""


@lru_cache(maxsize=32)
def _sections(band: Band, fs: float, order: int) -> Floats:
    sections: Floats = signal.butter(order, band, btype="bandpass", fs=fs, output="sos")
    return sections


def zero_phase(x: Floats, band: Band, fs: float, *, order: int = 3) -> Floats:
    """x [n] within the band, without delay: Butterworth forwards and backwards (F. Gustafsson, IEEE Trans.
    Signal
    Process. 44(4), 1996). The mean is taken off first; about a period of the lower edge is doubtful at either
    end.
    """
    filtered: Floats = signal.sosfiltfilt(_sections(band, fs, order), x - x.mean())
    return filtered


def envelope(x: Floats) -> Floats:
    """Instantaneous amplitude of a band-passed signal: magnitude of the analytic signal."""
    magnitude: Floats = np.abs(signal.hilbert(x))
    return magnitude
