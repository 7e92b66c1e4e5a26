"""A recording's times fitted again from its ticks and arrivals: as a radio of 30 ms delivers them, over a restart."""

from __future__ import annotations

import numpy as np
import pytest

from core.signals.clock import DeviceClock
from core.signals.refit import refit

INTERVAL_NS = 30e6
FRAME_NS = 21.3e6


def delivered(seconds: float, rng: np.random.Generator, ppm: float = 30.0, start_ns: float = 5e9):
    """True times, ticks of 1 µs and arrivals: frames wait for the next connection event, 2 % of which are lost."""
    true = start_ns + np.arange(0, seconds * 1e9, FRAME_NS)
    ticks = np.rint((true - start_ns) * (1 + ppm / 1e6) / 1000).astype(np.int64)
    events = np.ceil((true + 1e6) / INTERVAL_NS)
    events += rng.geometric(0.98, len(true)) - 1
    arrivals = np.maximum.accumulate(events * INTERVAL_NS + rng.exponential(0.3e6, len(true)))
    return true, ticks, np.rint(arrivals).astype(np.int64)


def test_a_refit_knows_the_first_minute_as_well_as_the_last() -> None:
    true, ticks, arrivals = delivered(300, np.random.default_rng(3))
    found = refit([(int(tick), int(at), 2) for tick, at in zip(ticks, arrivals, strict=True)], 1000.0)
    off_ms = (found.t_ns - true) / 1e6
    assert 0 < np.median(off_ms) < 3.0
    for minute in range(5):
        part = off_ms[minute * 2800 : (minute + 1) * 2800]
        assert np.std(part) < 1.0
        assert abs(np.median(part) - np.median(off_ms)) < 1.0
    assert found.error_ms is not None
    assert found.error_ms < 15.0

    clock, online = DeviceClock(1000.0), []
    for tick, at in zip(ticks.tolist(), arrivals.tolist(), strict=True):
        clock.observe(tick, at)
        online.append(float(clock.to_ns(np.array([tick]))[0]))
    first_ten_s = slice(0, 500)
    online_ms = (np.array(online) - true) / 1e6
    assert np.abs(off_ms[first_ten_s]).max() < np.abs(online_ms[first_ten_s]).max(), "later packets tell of the first"


def test_a_restart_begins_a_new_stretch() -> None:
    rng = np.random.default_rng(4)
    before, after = delivered(40, rng), delivered(40, rng, start_ns=60e9)
    true, ticks, arrivals = (np.concatenate(pair) for pair in zip(before, after, strict=True))
    found = refit([(int(tick), int(at), 2) for tick, at in zip(ticks, arrivals, strict=True)], 1000.0)
    off_ms = (found.t_ns - true) / 1e6
    assert np.abs(off_ms).max() < 6.0
    assert (np.diff(found.t_ns) > 0).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_packets_are_better_than_none(count: int) -> None:
    packets = [(n * 1000, 10**9 + n * 10**6 + n % 2 * 500_000, 1) for n in range(count)]
    found = refit(packets, 1000.0)
    assert found.t_ns == pytest.approx([10**9 + n * 10**6 for n in range(count)], abs=600_000)
