"""Sample times, the 10 ms grid and heart rates on real recordings: error, coverage and computing time. Two other
methods get the same batches in the same run: scipy's CubicSpline over each batch and the two samples before it, as a
viewer of a raw stream would use it, and numpy.interp. Times are the thread's own, so a busy machine does not affect
them.

`HOMESIDE_DATA=... python -m tests.bench.bench_signals`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline

from core.signals.clock import DeviceClock
from core.signals.heart_rate import analyse
from core.signals.quality import Reason
from core.signals.resample import Resampler
from tests.bench.rows import Row, show
from tests.core.signals import scg_recordings as scg

STREAMS = {
    "s1": "whole-ms stamps",
    "s2": "sampling jitter 1 ms",
    "s3": "host stamps, after 8 s",
    "s4": "losses swaps duplicates",
    "s6": "packet stamps, after 8 s",
}
RECORDS = ("s0047r001", "s0076r001")
REPEATS = 5
Curve = Callable[[scg.Floats, scg.Floats, scg.Floats], scg.Floats]


def _cubic(t: scg.Floats, values: scg.Floats, at: scg.Floats) -> scg.Floats:
    return np.asarray(CubicSpline(t, values, bc_type="natural")(at))


def _linear(t: scg.Floats, values: scg.Floats, at: scg.Floats) -> scg.Floats:
    return np.interp(at, t, values)


class PerBatch:
    """A peer: each batch with the two samples before it, sorted and without equal stamps, for it cannot take those."""

    def __init__(self, curve: Curve) -> None:
        self._curve = curve
        self._tail: scg.Batch = (np.empty(0), np.empty(0))

    def push(self, t: scg.Floats, values: scg.Floats) -> scg.Batch:
        t, kept = np.unique(np.concatenate([self._tail[0], t]), return_index=True)
        values = np.concatenate([self._tail[1], values])[kept]
        self._tail = t[-2:], values[-2:]
        at = np.arange(np.ceil(t[0] / 10) * 10, t[-1], 10.0)
        return at, self._curve(t, values, at) if len(t) > 1 else values[: len(at)]


def _peer_grid(batches: list[scg.Batch], curve: Curve) -> scg.Grid:
    """What a peer told, each time's last word; its repeated and backward times are forgiven."""
    peer = PerBatch(curve)
    told = [peer.push(t, values) for t, values in batches]
    t = np.concatenate([at for at, _ in told])
    order, last = np.unique(t[::-1], return_index=True)
    return scg.Grid(order.astype(np.int64), np.concatenate([values for _, values in told])[::-1][last], [], 0, 0.0)


def _errors(root: Path) -> list[Row]:
    found = []
    for kind, what in STREAMS.items():
        for record in RECORDS:
            batches, truth = scg.stream(root, f"{record}_{kind}"), scg.stream_truth(root, record)
            late = kind in {"s3", "s6"}
            ours = scg.live(batches)

            def error(grid: scg.Grid, ours: scg.Grid = ours, truth: scg.Batch = truth, late: bool = late) -> float:
                fair = grid._replace(gaps=ours.gaps)
                return 100 * scg.nrmse(fair, truth, skip_ms=8000.0 * late, free_lag=late)

            name, mine = f"{record} {kind} {what}: error", error(ours)
            found += [
                Row(name, mine, "% of sd", "CubicSpline per batch", error(_peer_grid(batches, _cubic))),
                Row(name, mine, "% of sd", "numpy.interp per batch", error(_peer_grid(batches, _linear))),
            ]
    return found


def _median_us(actions: list[Callable[[], object]]) -> float:
    took = []
    for action in actions:
        began = time.thread_time()
        action()
        took.append(time.thread_time() - began)
    return float(np.median(took)) * 1e6


def _batch_times(root: Path) -> list[Row]:
    found = []
    for kind, what in STREAMS.items():
        batches = scg.stream(root, f"{RECORDS[0]}_{kind}")

        def ours(batches: list[scg.Batch] = batches) -> float:
            resampler = Resampler()
            return _median_us([lambda i=i, b=b: resampler.push(*b, 202.6 * i) for i, b in enumerate(batches)])

        def theirs(curve: Curve, batches: list[scg.Batch] = batches) -> float:
            peer = PerBatch(curve)
            return _median_us([lambda b=b: peer.push(*b) for b in batches])

        name, mine = f"{kind} {what.split(',')[0]}: one batch of 20", min(ours() for _ in range(REPEATS))
        found += [
            Row(name, mine, "us", "goal", 150.0),
            Row(name, mine, "us", "CubicSpline per batch", min(theirs(_cubic) for _ in range(REPEATS))),
            Row(name, mine, "us", "numpy.interp per batch", min(theirs(_linear) for _ in range(REPEATS))),
        ]
    return found


def _heart(root: Path) -> list[Row]:
    found, errors, shown_on_no = [], [], 0
    for entry in scg.records(root):
        record = scg.record(root, entry)
        seconds = scg.watch(record)
        shown = [second for second in seconds if second.shown.bpm is not None]
        short = record.name.split("/")[1].split(".")[0]
        found.append(
            Row(f"{short} usable {record.usable}: rate shown", 100 * len(shown) / len(seconds), "% of seconds")
        )
        shown_on_no += len(shown) * (record.usable == "no")
        off = [
            abs((second.shown.bpm or 0.0) - consensus)
            for second in shown
            if (consensus := scg.consensus_at(record, second.at_s)) is not None
        ]
        if off:
            found.append(Row(f"{short}: median error against consensus", float(np.median(off)), "bpm", "goal", 2.0))
            errors += off if record.usable == "yes" else []
    return [
        *found,
        Row("all usable: median error against consensus", float(np.median(errors)), "bpm", "goal", 2.0),
        Row("all usable: largest error against consensus", float(np.max(errors)), "bpm"),
        Row("not usable: seconds with a number", shown_on_no, "s", "goal", 0.0),
    ]


def _analysis_time(root: Path) -> Row:
    entry = next(entry for entry in scg.records(root) if "s0088r002" in str(entry["file"]))
    record = scg.record(root, entry)
    grid = scg.live(scg.batches_of(record.t_ms, record.z, 20))
    windows = [(grid.t[end - 3000 : end], grid.values[end - 3000 : end]) for end in range(3000, len(grid.t), 100)]
    assert analyse(*windows[-1]).heart_rate.reason is Reason.GOOD
    return Row("analyse 30 s", _median_us([lambda w=w: analyse(*w) for w in windows]) / 1000, "ms", "goal", 5.0)


def _clock_time() -> Row:
    """Mean, for the cost lies in one packet of ten; 600 s of ten packets a second over a slow radio."""
    rng = np.random.default_rng(0)
    ticks = np.arange(1, 6001) * 100_000
    arrivals = (np.ceil((ticks * 1000 + rng.exponential(5e6, 6000)) / 30e6) * 30e6).astype(np.int64)
    pairs = list(zip(ticks.tolist(), arrivals.tolist(), strict=True))
    clock = DeviceClock(1000.0)
    began = time.thread_time()
    for tick, arrival in pairs:
        clock.observe(tick, arrival)
    return Row("clock: one packet observed, mean", (time.thread_time() - began) / len(pairs) * 1e6, "us", "goal", 50.0)


def rows(data_dir: Path) -> list[Row]:
    return [*_errors(data_dir), *_batch_times(data_dir), _analysis_time(data_dir), _clock_time(), *_heart(data_dir)]


if __name__ == "__main__":
    named = os.environ.get("HOMESIDE_DATA")
    if not named:
        sys.exit("HOMESIDE_DATA names no folder: the recordings this bench runs on are missing")
    show("Signals", rows(Path(named)))
