"""`homeside bench vision` as a kit's owner runs it, and memory over a day's worth of pictures."""

from __future__ import annotations

import itertools
import json
import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agent.vision.looker import LiteRt, Looker, rss_bytes
from agent.vision.messages import Look
from tests.agent.vision.pictures import pictures, walking

PICTURES_AN_HOUR = 15 * 3600
WARM = 3000


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "homeside", "bench", "vision", "--rounds", "5", *words]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_it_says_what_each_model_and_a_whole_picture_take_here(repo_root: Path) -> None:
    done = run(repo_root, "--json", "--video", str(walking()))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    names = {stage["name"] for stage in told["stages"]}
    assert names >= {"pose lite, the model", "pose heavy, a picture all in all", "hands, a picture all in all"}
    assert all(0 < stage["median_ms"] <= stage["p95_ms"] for stage in told["stages"])
    assert told["machine"]["name"]
    assert told["machine"]["rss_bytes"] > 10_000_000


def test_a_file_that_is_no_video_is_said(repo_root: Path, tmp_path: Path) -> None:
    (tmp_path / "none.mp4").write_bytes(b"nothing")
    done = run(repo_root, "--video", str(tmp_path / "none.mp4"))
    assert done.returncode == 2
    assert "no video" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_a_day_of_pictures_costs_no_memory(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the process that looks does with a picture, as often as in a day at 15 a second; a line tells an hour."""
    images = list(pictures(data_dir / "motion" / "squat_side_360x640.mp4"))
    memory = mmap.mmap(-1, images[0].nbytes)
    looker, held, found = Looker(LiteRt(2), memory), [], 0
    for number, image in zip(range(24 * PICTURES_AN_HOUR), itertools.cycle(images), strict=False):
        memory[:] = image.tobytes()
        found += looker.look(Look(number, number * 66_666_667, *image.shape[:2], "pose", "lite")).body is not None
        if number > WARM and number % 500 == 0:
            held.append(rss_bytes())
        if number % PICTURES_AN_HOUR == 0:
            with capsys.disabled():
                sys.stdout.write(f"hour {number // PICTURES_AN_HOUR}: {rss_bytes() / 2**20:.2f} MB, {found} seen\n")
    slope = float(np.polyfit(np.arange(len(held)) * 500 / PICTURES_AN_HOUR, held, 1)[0])
    with capsys.disabled():
        sys.stdout.write(f"{slope / 2**20:.4f} MB an hour over {number + 1} pictures, a body in {found}\n")
    assert found > 0.9 * number
    assert slope < 2**20, f"{slope / 2**20:.2f} MB an hour"
