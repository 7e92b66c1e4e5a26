"""Figures on real streams with a known truth: what is asserted here stands in docs/signals.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.core.signals import scg_recordings as scg

RECORDS = ("s0047r001", "s0076r001")


def _grid(root: Path, name: str) -> scg.Grid:
    grid = scg.live(scg.stream(root, name))
    assert np.all(grid.t % 10 == 0)
    assert np.all(np.diff(grid.t) > 0)
    assert np.all(np.isfinite(grid.values))
    return grid


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("kind", ["s1", "s2"])
def test_sensor_stamps(data_dir: Path, record: str, kind: str) -> None:
    grid = _grid(data_dir, f"{record}_{kind}")
    assert scg.nrmse(grid, scg.stream_truth(data_dir, record)) <= 0.06
    assert grid.gaps == []
    assert grid.dropped == 0


@pytest.mark.parametrize("record", RECORDS)
def test_faults(data_dir: Path, record: str) -> None:
    grid = _grid(data_dir, f"{record}_s4")
    assert scg.nrmse(grid, scg.stream_truth(data_dir, record)) <= 0.06
    long_ones = [e for e in scg.stream_events(data_dir, f"{record}_s4") if e["gap_to_ms"] - e["gap_from_ms"] > 100]
    assert len(grid.gaps) == len(long_ones) == 2
    for event, gap in zip(long_ones, grid.gaps, strict=True):
        assert gap.from_ms <= event["gap_from_ms"]
        assert gap.to_ms >= event["gap_to_ms"]
        assert not np.any((grid.t > event["gap_from_ms"]) & (grid.t < event["gap_to_ms"]))


@pytest.mark.parametrize("record", RECORDS)
def test_host_stamps(data_dir: Path, record: str) -> None:
    grid = _grid(data_dir, f"{record}_s3")
    assert scg.nrmse(grid, scg.stream_truth(data_dir, record), skip_ms=8000, free_lag=True) <= 0.05
    assert grid.gaps == []


@pytest.mark.parametrize("record", RECORDS)
def test_packet_stamps(data_dir: Path, record: str) -> None:
    grid = _grid(data_dir, f"{record}_s6")
    assert scg.nrmse(grid, scg.stream_truth(data_dir, record), skip_ms=8000, free_lag=True) <= 0.25
    assert grid.gaps == []


@pytest.mark.parametrize("record", RECORDS)
def test_clock_steps(data_dir: Path, record: str) -> None:
    """Ahead by 750 ms: a gap. Back by 1150 ms: re-anchored, so the grid goes on 750 ms ahead of the truth."""
    grid = _grid(data_dir, f"{record}_s5")
    (gap,) = grid.gaps
    assert abs(gap.to_ms - gap.from_ms - 760.0) <= 1.0
    assert abs(grid.shift_ms - 1150.0) <= 1.0
    assert grid.dropped == 0
    after = grid.t > gap.to_ms
    assert np.all(np.diff(grid.t[after]) == 10)
    ahead = scg.Grid(grid.t[after] - 750, grid.values[after], [], 0, 0.0)
    assert scg.nrmse(ahead, scg.stream_truth(data_dir, record), free_lag=True) <= 0.06
