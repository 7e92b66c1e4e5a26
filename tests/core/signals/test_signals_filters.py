"""What filters keep, what they take off, and that they shift nothing, or by what they say."""

from __future__ import annotations

import numpy as np
import pytest

from core.signals.filters import BODY, BREATHING, HEART, Band, envelope, zero_phase
from tests.core.signals.scg_recordings import batches_of, live

FS = 100.0


def _tone(hertz: float, seconds: float = 60.0, fs: float = FS) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * fs)) / fs)


@pytest.mark.parametrize(
    ("band", "inside", "outside"),
    [
        (BREATHING, (0.15, 0.25, 0.45), (0.02, 2.0)),
        (BODY, (1.0, 2.0, 3.0), (0.25, 12.0)),
        (HEART, (8.0, 25.0), (0.25, 1.5, 48.0)),
    ],
)
def test_bands(band: Band, inside: tuple[float, ...], outside: tuple[float, ...]) -> None:
    middle = slice(1500, 4500)
    for hertz in inside:
        tone = _tone(hertz)
        kept = zero_phase(tone + 9.81, band, FS)
        assert np.abs(kept - tone)[middle].max() < 0.12, "amplitude and phase both stay"
    for hertz in outside:
        assert np.abs(zero_phase(_tone(hertz), band, FS)[middle]).max() < 0.05


def test_heart_filter_leaves_breathing_to_be_found() -> None:
    beat = 0.1 * _tone(12.0) * (_tone(1.1) > 0.8)
    both = 9.81 + 0.05 * _tone(0.25) + beat
    found = zero_phase(both, BREATHING, FS, order=2)[1000:-1000]
    assert abs(found.std() / (0.05 / np.sqrt(2)) - 1.0) < 0.1


def test_envelope_is_the_amplitude() -> None:
    assert np.abs(envelope(0.3 * _tone(12.0))[100:-100] - 0.3).max() < 0.01


@pytest.mark.parametrize(
    ("hertz", "kept"), [(3.0, 1.0), (12.0, 1.0), (30.0, 0.97), (70.0, 0.0), (88.0, 0.0), (110.0, 0.0)]
)
def test_a_fast_sensor_is_low_passed_before_the_grid(hertz: float, kept: float) -> None:
    """400 Hz onto 100 Hz: told point by point, 70, 88 and 110 Hz would stand there as 30, 12 and 10 Hz."""
    t = np.arange(0.0, 20_000.0, 2.5)
    tone = np.sin(2e-3 * np.pi * hertz * t)
    grid = live(batches_of(t, tone, 40))
    wanted = kept * np.sin(2e-3 * np.pi * hertz * grid.t)
    assert np.abs(grid.values - wanted)[10:-10].max() < 0.03


def test_a_fast_sensor_with_gaps_and_a_change_of_rate_keeps_the_grid() -> None:
    t = np.concatenate([np.arange(0.0, 5000.0, 2.5), np.arange(5000.0, 9000.0, 10.0), np.arange(9600.0, 12000.0, 2.5)])
    grid = live(batches_of(t, np.sin(t / 60.0), 25))
    (gap,) = grid.gaps
    assert (gap.from_ms, gap.to_ms) == (8990.0, 9600.0)
    np.testing.assert_array_equal(grid.t, [*range(0, 9000, 10), *range(9600, 12000, 10)])
    calm = (grid.t > 100) & (grid.t < 4900)
    assert np.abs(grid.values - np.sin(grid.t / 60.0))[calm].max() < 0.01
