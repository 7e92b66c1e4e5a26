"""A recording as an endless signal: played at its own pace, and from the beginning again after its last sample."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from core.contracts.recordings import STANDARD_GRAVITY, Recording
from firmware_bridge.errors import SimulationError
from firmware_bridge.physiology import Floats


class Playback:
    """The signal. A makima curve connects the samples, which does not overshoot beside a gap.

    Samples are played in order of time, one at a time; axes that the recording lacks are zero. A recording with one
    timestamp per packet is played at its mean rate.
    """

    def __init__(self, recording: Recording) -> None:
        t_s, xyz = _in_order(recording)
        self._length_s = float(t_s[-1] + 1 / recording.sampling_rate_hz)
        self._curves = [_curve(t_s, axis) for axis in xyz.T / STANDARD_GRAVITY]

    def at(self, t_s: Floats) -> Floats:
        """Acceleration in g, float64[n, 3], at times in s since the beginning of the first round."""
        into = np.mod(t_s, self._length_s)
        return np.column_stack([curve(into) for curve in self._curves])

    def take_beats(self, until_s: float) -> list[float]:
        """Always empty: a recording does not tell when its heart beat."""
        return []

    def take_movements(self, until_s: float) -> list[tuple[float, float]]:
        return []


def _in_order(recording: Recording) -> tuple[Floats, Floats]:
    t_s, first = np.unique((recording.t_ms - recording.t_ms.min()) / 1000, return_index=True)
    if len(t_s) >= len(recording) / 2:
        return t_s, recording.xyz[first]
    return np.arange(len(recording)) / recording.sampling_rate_hz, recording.xyz


def _curve(t_s: Floats, axis: Floats) -> Akima1DInterpolator | np.polynomial.Polynomial:
    known = np.isfinite(axis)
    if not known.any():
        return np.polynomial.Polynomial([0.0])
    if known.sum() < 2:
        raise SimulationError("an axis of the recording has only one sample")
    first, last = np.flatnonzero(known)[[0, -1]]
    filled = np.interp(t_s, t_s[known], axis[known])
    filled[:first], filled[last:] = axis[first], axis[last]
    ends = np.append(t_s, t_s[-1] + 2 * (t_s[-1] - t_s[-2]))
    return Akima1DInterpolator(ends, np.append(filled, filled[-1]), method="makima")
