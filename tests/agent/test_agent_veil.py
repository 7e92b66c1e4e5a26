"""Blurred is without a face: whichever way the body stands, whatever is before it, however the pose was mistaken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.outbox import Outbox
from agent.settings import AgentSettings
from agent.sources.slot import Frame, Image
from agent.video.veil import Points, shown, veiled
from agent.vision.app import Watch
from agent.vision.eyes import Seen
from agent.vision.pose import Pose
from agent.wall_clock import WallClock
from tests.physio.squatting import pose as figure

SIDE = 480
HEAD = 0.08
"""Of the picture: half a head of the figure, whose trunk is 0.3 of it long."""


@pytest.fixture
def room() -> Image:
    """Every pixel differs from its blur."""
    return np.random.default_rng(1).integers(0, 2, (SIDE, SIDE, 3), np.uint8) * 255


def landmarks(*, broad: float = 0.0) -> Points:
    """The standing figure, seen from the side, or with shoulders and hips this broad."""
    points = figure(0.0)
    points[[11, 23], 0] -= broad / 2
    points[[12, 24], 0] += broad / 2
    return np.column_stack((points, np.zeros(33), np.full(33, 0.98))).astype(np.float32)


def clear(room: Image, marks: Points | None) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Where the picture is as it was, in all of its colours."""
    return np.asarray((veiled(room, marks) == room).all(axis=2))


def around(point: Points) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    return np.asarray(np.hypot(x - point[0], y - point[1]) < HEAD)


@pytest.mark.parametrize("broad", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("wrist", [15, 16])
def test_a_hand_before_the_face_does_not_show_it(room: Image, broad: float, wrist: int) -> None:
    marks = landmarks(broad=broad)
    marks[wrist, :2] = marks[0, :2] + (0.02, 0.03)
    seen = clear(room, marks)
    assert not (seen & around(marks[0])).any()
    knee = seen[round(marks[25, 1] * SIDE), round(marks[25, 0] * SIDE)]
    assert knee, "the body is not blurred"


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_pose_that_is_none_shows_nothing(room: Image, broken: float) -> None:
    marks = landmarks()
    marks[0, 0] = broken
    assert clear(room, marks).mean() < 0.01
    assert clear(room, None).mean() < 0.01


def test_another_face_may_be_before_the_body_and_feet_may_be_a_head() -> None:
    marks = landmarks()
    assert shown(marks, 1)
    assert not shown(marks, 2)
    marks[:, 1] = 1 - marks[:, 1]
    assert not shown(marks, 1)


async def test_who_comes_into_the_picture_is_blurred_with_the_next_pose(tmp_path: Path, room: Image) -> None:
    relay = {"relay": "http://127.0.0.1:1"}
    settings = AgentSettings(state=tmp_path, source={"camera": {"device": "test"}}, video=relay)  # type: ignore[arg-type]
    watch = Watch(settings, Outbox(tmp_path / "outbox.db", 1 << 30, "a"), WallClock(0, 0))
    assert watch.video is not None
    marks = landmarks()
    for number, people in enumerate((1, 2, 1), 1):
        pose = Pose(marks[:, :3], marks[:, 3], marks[:, :3], 0.99, people)
        watch._see(Seen(Frame(room, number, number), "pose", pose, [], 1.0, 1.0))
        assert (watch.video._newest is None) == (people > 1)
