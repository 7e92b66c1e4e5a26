"""Known chest signals, and what the pages make of them before they draw."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

Floats = NDArray[np.float64]
GRAVITY = 9.80665


def beats(t_ms: Floats, per_minute: float = 68.0) -> Floats:
    """A chest's acceleration in m/s²: gravity, a slow breath, and a damped burst of two sounds a beat."""
    period = 60000.0 / per_minute
    phase = np.mod(t_ms, period)
    first = np.exp(-phase / 45.0) * np.sin(2 * np.pi * phase / 55.0)
    later = np.where(phase > 320, np.exp(-(phase - 320) / 35.0) * np.sin(2 * np.pi * (phase - 320) / 45.0), 0.0)
    breath = 0.02 * np.sin(2 * np.pi * t_ms / 4200.0)
    return np.asarray(GRAVITY + breath + 0.22 * first + 0.08 * later)


def grid(end_ms: float, seconds: float) -> Floats:
    """Times of the 10 ms grid, the last one at or before `end_ms`."""
    last = end_ms // 10 * 10
    return np.arange(last - seconds * 1000 + 10, last + 10, 10.0)


def recorded(name: str = "s0047r001_truth") -> tuple[Floats, Floats]:
    """A real recording on the 10 ms grid: ms from zero, m/s². Skips where there are none."""
    folder = os.environ.get("HOMESIDE_DATA")
    if not folder:
        pytest.skip("HOMESIDE_DATA is not set: no real recordings here")
    with gzip.open(Path(folder) / "scg" / "streams" / f"{name}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    t = np.array([float(row["t"]) for row in rows])
    return t - t[0], np.array([float(row["az"]) for row in rows])


def drawn(t: Floats, raw: Floats, tau_ms: float = 500.0) -> Floats:
    """`raw` without its slow part: the one-pole mean the page subtracts, written down twice."""
    out = np.empty(len(t))
    mean, since, last = 0.0, 0.0, -np.inf
    for i, (when, value) in enumerate(zip(t, raw, strict=True)):
        step, last = when - last, when
        if step > 10_000:
            mean, since = value, 0.0
        else:
            step = min(step, 50.0)
            since += step
            share = 1 - np.exp(-step / tau_ms)
            mean += (value - mean) * max(share, step / (since + step))
        out[i] = value - mean
    return out
