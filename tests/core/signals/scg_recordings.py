"""Real recordings and jittered streams as the tests and the bench read them; the folder comes from HOMESIDE_DATA."""

from __future__ import annotations

import csv
import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.signals.heart_rate import Analysis, HeartTracker, analyse
from core.signals.quality import Reading
from core.signals.resample import Gap, Resampler

Floats = NDArray[np.float64]
Batch = tuple[Floats, Floats]

STREAM_RATE_HZ = 98.7
BATCH_MS = 20 * 1000.0 / STREAM_RATE_HZ


class Grid(NamedTuple):
    t: NDArray[np.int64]
    values: Floats
    gaps: list[Gap]
    dropped: int
    shift_ms: float


class Record(NamedTuple):
    name: str
    usable: str
    consensus_bpm: float | None
    windows: list[tuple[float, float, float | None, int]]
    t_ms: Floats
    z: Floats


def live(batches: list[Batch], arrivals_ms: list[float] | None = None, *, paused: bool = True) -> Grid:
    """The live line's way: each batch pushed when it came, flushed when that fell due (if `paused`) and at the end."""
    resampler = Resampler()
    arrivals = arrivals_ms or [i * BATCH_MS for i in range(len(batches))]
    parts = []
    for (t, values), now in zip(batches, arrivals, strict=True):
        if paused and resampler.deadline_ms is not None and resampler.deadline_ms <= now:
            parts.append(resampler.flush(resampler.deadline_ms))
        parts.append(resampler.push(t, values, now))
    parts.append(resampler.flush(np.inf))
    return Grid(
        np.concatenate([part.t for part in parts]),
        np.concatenate([part.values for part in parts]),
        [gap for part in parts for gap in part.gaps],
        sum(part.dropped for part in parts),
        parts[-1].shift_ms,
    )


def nrmse(grid: Grid, truth: Batch, *, skip_ms: float = 0.0, free_lag: bool = False) -> float:
    """Error over the truth's sd, outside reported gaps; `free_lag` takes off the one constant lag that fits best."""
    lags = np.arange(-40.0, 60.0, 0.5) if free_lag else np.zeros(1)
    return min(_error(grid, truth, skip_ms, float(lag)) for lag in lags)


def _error(grid: Grid, truth: Batch, skip_ms: float, lag: float) -> float:
    when, wanted = truth
    at = when + lag
    within = (when >= grid.t[0] + skip_ms) & (at <= grid.t[-1])
    for gap in grid.gaps:
        within &= ~((at > gap.from_ms - 10) & (at < gap.to_ms + 10))
    got = np.interp(at[within], grid.t, grid.values) if lag % 10 == 0 else _cubic(grid, at[within])
    return float(np.sqrt(np.mean((got - wanted[within]) ** 2)) / wanted[within].std())


def _cubic(grid: Grid, at: Floats) -> Floats:
    from scipy.interpolate import CubicSpline

    return np.asarray(CubicSpline(grid.t.astype(np.float64), grid.values)(at))


def stream(root: Path, name: str) -> list[Batch]:
    """s1 to s6 of one record, `s0047r001_s1`: the batches in the order they were sent."""
    (path,) = (root / "scg" / "streams").glob(f"{name}_*.ndjson.gz")
    batches = []
    with gzip.open(path, "rt") as lines:
        for line in lines:
            samples = json.loads(line)["payload"]["samples"]
            batches.append((np.array([s["t"] for s in samples], float), np.array([s["az"] for s in samples], float)))
    return batches


def stream_truth(root: Path, record: str) -> Batch:
    t, columns = _table(root / "scg" / "streams" / f"{record}_truth.csv.gz", "t", "az")
    return t, columns


def stream_events(root: Path, name: str) -> list[dict[str, float]]:
    (path,) = (root / "scg" / "streams").glob(f"{name}_*.json")
    return [event for event in json.loads(path.read_text())["events"] if isinstance(event, dict)]


def records(root: Path) -> list[dict[str, object]]:
    return list(json.loads((root / "scg" / "truth.json").read_text()))


def record(root: Path, entry: dict[str, object]) -> Record:
    """One recording: z axis only, sensor's own times in ms."""
    name = str(entry["file"])
    if name.endswith(".json"):
        samples = json.loads((root / "scg" / name).read_text())["samples"]
        t, z = (np.array(column, float) for column in (np.array(samples)[:, 0], np.array(samples)[:, 3]))
    else:
        t, z = _table(root / "scg" / name, "time", "z")
        t = t / 1e6
    consensus = entry["consensus_hr_bpm"]
    windows = [tuple(window) for window in entry.get("windows_10s", [])]  # type: ignore[attr-defined]
    return Record(name, str(entry["usable"]), consensus if consensus is None else float(str(consensus)), windows, t, z)


@lru_cache(maxsize=4)
def _table(path: Path, *names: str) -> tuple[Floats, Floats]:
    with gzip.open(path, "rt") as lines:
        rows = csv.reader(lines)
        head = next(rows)
        at = [head.index(name) for name in names]
        table = np.array([[float(row[i]) for i in at] for row in rows])
    return table[:, 0], table[:, 1]


def batches_of(t: Floats, values: Floats, size: int) -> list[Batch]:
    return [(t[i : i + size], values[i : i + size]) for i in range(0, len(t), size)]


class Second(NamedTuple):
    at_s: float
    analysis: Analysis
    shown: Reading


def watch(recording: Record) -> list[Second]:
    """The live line on a recording: 100 ms batches onto the grid, analysed and tracked once a second."""
    rate = 1000.0 * (len(recording.t_ms) - 1) / (recording.t_ms[-1] - recording.t_ms[0])
    batches = batches_of(recording.t_ms, recording.z, max(round(rate / 10), 1))
    grid = live(batches, [float(t[-1]) for t, _ in batches])
    tracker, seconds = HeartTracker(), []
    for s in range(1, int((grid.t[-1] - recording.t_ms[0]) / 1000) + 1):
        now = recording.t_ms[0] + 1000.0 * s
        end = int(np.searchsorted(grid.t, now))
        analysis = analyse(grid.t[max(0, end - 3000) : end], grid.values[max(0, end - 3000) : end])
        seconds.append(Second(float(s), analysis, tracker.update(analysis, now)))
    return seconds


def consensus_at(recording: Record, second: float) -> float | None:
    """What six estimates agreed on for the ten seconds that end here; the record's median where it has no windows."""
    if not recording.windows:
        return recording.consensus_bpm
    return next((bpm for _, end, bpm, _ in recording.windows if end == second), None)
