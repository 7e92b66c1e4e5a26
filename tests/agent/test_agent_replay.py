"""Replaying recordings: at their own pace, with their own spacing, disorder and gaps, on real ones too."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

from agent.errors import CommandRefused, RecordingUnusable
from agent.sections import Replay
from agent.sources.replay import ReplaySource
from tests.radio.reading import Collected
from tests.waiting import comes


def recording(folder: Path, times_ms: list[float]) -> Path:
    path = folder / "recording.csv"
    path.write_text("t,ax,ay,az\n" + "".join(f"{t},{n},0,9.8\n" for n, t in enumerate(times_ms)))
    return path


async def test_gaps_and_disorder_are_replayed_as_they_are(tmp_path: Path) -> None:
    times = [0.0, 10, 30, 20, 40, 400, 410, 410, 420]
    path = recording(tmp_path, times)
    sink, began = Collected(), time.monotonic_ns()
    await ReplaySource(Replay(file=path), path).run(sink)
    took = (time.monotonic_ns() - began) / 1e9
    assert took >= 0.42
    t = np.concatenate([r.t_ns for r in sink.readings])
    x = np.concatenate([r.xyz for r in sink.readings])[:, 0]
    assert x.tolist() == list(range(9))
    assert np.allclose((t - t[0]) / 1e6, times, atol=1e-3)
    assert all((r.t_ns <= r.arrival_ns).all() for r in sink.readings), "no sample is from the future"
    assert sink.infos[0].kind == "recording"


@pytest.mark.parametrize("speed", [0.5, 4.0])
async def test_speed_changes_the_pace_and_not_the_spacing(tmp_path: Path, speed: float) -> None:
    path = recording(tmp_path, [n * 10.0 for n in range(60)])
    sink, began = Collected(), time.monotonic_ns()
    await ReplaySource(Replay(file=path, speed=speed), path).run(sink)
    ended = time.monotonic_ns()
    assert (ended - began) / 1e9 >= 0.59 / speed
    t = np.concatenate([r.t_ns for r in sink.readings])
    assert np.allclose(np.diff(t) / 1e6, 10.0, atol=1e-3)
    assert t[-1] <= ended
    assert all((r.t_ns <= r.arrival_ns + 1).all() for r in sink.readings)


async def test_loop_goes_on_without_a_seam(tmp_path: Path) -> None:
    path = recording(tmp_path, [n * 10.0 for n in range(20)])
    sink = Collected()
    source = ReplaySource(Replay(file=path, loop=True), path)
    task = asyncio.create_task(source.run(sink))
    await comes(lambda: sink.count >= 70)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    t = np.concatenate([r.t_ns for r in sink.readings])
    assert np.allclose(np.diff(t) / 1e6, 10.0, atol=1e-3)
    assert source.figures()["rounds"] >= 3


async def test_a_recording_is_not_asked_for_other_rates(tmp_path: Path) -> None:
    path = recording(tmp_path, [0, 10])
    with pytest.raises(CommandRefused, match="cannot be set"):
        await ReplaySource(Replay(file=path), path).set_rate(100)


@pytest.mark.parametrize(("name", "text"), [("absent.csv", None), ("x.csv", "a,b\n"), ("x.txt", "hello")])
async def test_what_is_no_recording_is_named(tmp_path: Path, name: str, text: str | None) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(RecordingUnusable, match=name.replace(".", r"\.")):
        await ReplaySource(Replay(file=path), path).run(Collected())


async def test_real_recordings_are_replayed_whole(data_dir: Path) -> None:
    path = data_dir / "scg" / "openscg" / "measurement_0.json"
    sink = Collected()
    await ReplaySource(Replay(file=path, speed=200), path).run(sink)
    assert sink.count > 1000
    assert sink.infos[0].rate_hz == 100.0
    t = np.concatenate([r.t_ns for r in sink.readings])
    assert np.allclose(np.diff(t) / 1e6, 10.0, atol=1e-2)
    assert 8 < np.concatenate([r.xyz for r in sink.readings])[:, 2].mean() < 11
