"""The low-pass of a fast sensor's curve is the one scipy would design."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from core.signals.antialias import windowed_sinc


@pytest.mark.parametrize(("taps", "cut_off"), [(41, 0.18), (21, 0.5), (7, 0.9)])
def test_windowed_sinc_is_the_filter_scipy_designs(taps: int, cut_off: float) -> None:
    assert np.abs(windowed_sinc(taps, cut_off) - signal.firwin(taps, cut_off)).max() < 1e-12
