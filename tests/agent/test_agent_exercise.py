"""An exercise on the kit: documented frames, repetitions, advice, filled-in moments; and who may see a picture."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from agent.errors import CommandRefused
from agent.exercise import BATCH_S, Exercise, session_of
from agent.indicator import show_on
from agent.privacy import Level, Privacy
from agent.settings import AgentSettings
from agent.vision.app import Watch
from agent.vision.pace import Pace
from agent.vision.pose import Pose
from agent.wall_clock import WallClock
from core.contracts.physio import Frame
from tests.physio.squatting import pose as figure

SESSION = "7f0e1b9c-0000-4000-8000-000000000001"
EPOCH_NS = 1_700_000_000_000_000_000


class Kept:
    """What would go into the outbox."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def put(self, kind: str, payload: Any, session: str, now_ms: int, *, kept: bool = False) -> None:
        assert kind == "pose_frames"
        assert session == payload["sessionId"]
        self.messages.append(json.loads(msgspec.json.encode(payload)))

    @property
    def frames(self) -> list[dict[str, Any]]:
        return [frame for message in self.messages for frame in message["frames"]]


def seen(bend: float, *, turned: float = 90.0, visibility: float = 0.95, people: int = 1) -> Pose:
    """The squatting figure, `turned` degrees away from the camera."""
    flat = figure(bend).astype(np.float32)
    side = np.zeros((33, 1), np.float32)
    side[1::2] = 0.2
    angle = np.radians(90 - turned)
    along, across = flat[:, :1] - 0.5, side
    world = np.hstack(
        [along * np.sin(np.radians(turned)) + across * np.sin(angle), flat[:, 1:], across * np.cos(angle)]
    )
    return Pose(np.hstack([flat, side]), np.full(33, visibility, np.float32), world, 0.99, people)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def exercise(kept: Kept) -> Exercise:
    return Exercise(kept, WallClock(0, EPOCH_NS), now_ms=lambda: EPOCH_NS // 1_000_000)  # type: ignore[arg-type]


async def squat(exercise: Exercise, times: int, **options: Any) -> None:
    for t_ms in range(0, 1000 + 2000 * times, 66):
        bend = (1 - np.cos(2 * np.pi * (t_ms - 1000) / 2000)) / 2 if t_ms > 1000 else 0.0
        exercise.take(seen(float(bend), **options), t_ms * 1_000_000, {"fps": 15.0})
    for t_ms in range(1000 + 2000 * times, 2000 + 2000 * times, 66):
        exercise.take(seen(0.0, **options), t_ms * 1_000_000, {"fps": 15.0})
    exercise.flush()


async def test_poses_become_documented_frames_and_repetitions(exercise: Exercise, kept: Kept) -> None:
    exercise.take(seen(0.0), 0, {})
    assert exercise.unrecorded == 1
    exercise.begin(SESSION, "squat")
    await squat(exercise, 3)
    frames = [msgspec.json.decode(msgspec.json.encode(one), type=Frame) for one in kept.frames]
    assert len(frames) == exercise.frames > 100
    times = [frame.timestamp for frame in frames]
    assert times == sorted(set(times))
    assert times[0] == EPOCH_NS // 1_000_000
    assert {landmark.type for landmark in frames[0].landmarks} >= {"LEFT_KNEE", "RIGHT_HIP"}
    assert len(frames[0].landmarks) == 33
    assert all(0.9 < (frame.quality_score or 0) <= 1 for frame in frames)
    assert kept.messages[-1]["live"]["repetitions"] == 3
    knees = [angle for frame in frames for key, angle in (frame.angles or {}).items() if key.startswith("knee")]
    assert min(knees) < 105 < 160 < max(knees)
    sides = {key.rsplit("_", 1)[1] for frame in frames for key in frame.angles or {}}
    assert len(sides) == 1, "of a body seen from the side, the far side is not believed"
    exercise.end()
    assert exercise.session is None


async def test_frames_leave_a_few_at_a_time(exercise: Exercise, kept: Kept) -> None:
    exercise.begin(SESSION, "squat")
    for number in range(3):
        exercise.take(seen(0.0), number * 50_000_000, {})
    assert kept.messages == []
    await asyncio.sleep(BATCH_S * 3)
    assert [len(one["frames"]) for one in kept.messages] == [3]


async def test_from_the_front_degrees_are_doubted_and_it_is_said(exercise: Exercise, kept: Kept) -> None:
    exercise.begin(SESSION, "squat")
    await squat(exercise, 1, turned=5.0)
    last = kept.messages[-1]
    assert "Turn sideways" in last["live"]["advice"]
    assert last["live"]["turnedAway"] < 20
    issue = last["frames"][-1]["form_issues"][0]
    assert (issue["type"], issue["joint"]) == ("VISIBILITY_WARNING", "knee")
    assert last["frames"][-1]["quality_score"] <= 0.5
    exercise.begin(str(uuid.uuid4()), "shoulder_raise")
    await squat(exercise, 1, turned=5.0)
    assert kept.messages[-1]["live"]["advice"] is None, "shoulders are best seen from the front"


async def test_moments_in_which_nobody_was_seen_are_filled_in_and_named(exercise: Exercise, kept: Kept) -> None:
    exercise.begin(SESSION, "squat")
    exercise.take(seen(0.0), 0, {})
    exercise.take(None, 100_000_000, {})
    exercise.take(seen(0.4), 200_000_000, {"size": [640, 360]})
    exercise.flush()
    message = kept.messages[-1]
    assert message["live"]["interpolated"] == [EPOCH_NS // 1_000_000 + 100]
    how = [frame["processing_metadata"] for frame in message["frames"]]
    assert how == [{}, {"picture": [640, 360], "interpolated": True}, {"picture": [640, 360]}]
    before, between, after = message["frames"]
    knee = [{one["type"]: one for one in frame["landmarks"]}["LEFT_KNEE"]["x"] for frame in (before, between, after)]
    assert knee[1] == pytest.approx((knee[0] + knee[2]) / 2, abs=2e-4)
    assert between["quality_score"] <= 0.5
    exercise.take(None, 300_000_000, {})
    exercise.take(seen(0.0), 900_000_000, {})
    exercise.flush()
    assert kept.messages[-1]["live"]["interpolated"] == [], "what happened in a long gap is not known"
    exercise.take(None, 2_000_000_000, {})
    exercise.flush()
    assert kept.messages[-1]["frames"] == []
    assert kept.messages[-1]["live"]["people"] == 0


async def test_two_people_and_hidden_joints_are_told(exercise: Exercise, kept: Kept) -> None:
    exercise.begin(SESSION, "squat")
    exercise.take(seen(0.0, visibility=0.2, people=2), 0, {})
    exercise.flush()
    assert kept.messages[-1]["live"]["people"] == 2
    assert kept.frames[-1]["angles"] == {}
    assert kept.frames[-1]["quality_score"] < 0.25


def test_an_exercise_is_asked_for_by_session_and_name() -> None:
    assert session_of({"session": SESSION.upper(), "exercise": "squat"}) == (SESSION, "squat")
    for args in ({"exercise": "squat"}, {"session": "x", "exercise": "squat"}, {"session": SESSION, "exercise": 5}):
        with pytest.raises(CommandRefused, match="start_session"):
            session_of(args)


class Clocks:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def privacy(folder: Path, clock: Clocks, **more: Any) -> Privacy:
    return Privacy(folder / "privacy.log", clock=clock, now_s=lambda: 1_700_000_000 + clock.s, **more)


async def test_pictures_leave_only_while_somebody_agreed(tmp_path: Path) -> None:
    clock, steps = Clocks(), list[Level]()
    held = privacy(tmp_path, clock, changed=steps.append)
    assert held.level is Level.SKELETON
    told = await held.command({"level": "blurred", "minutes": 10, "by": "patient 7"})
    assert told["privacy"]["level"] == "blurred"
    assert held.level is Level.BLURRED
    clock.s += 9 * 60
    assert held.level is Level.BLURRED
    held.grant(Level.CLEAR, 5, "patient 7")
    assert held.level is Level.CLEAR
    clock.s += 5 * 60
    assert held.level is Level.SKELETON, "it falls to the skeleton, not to the step before"
    assert held.figures() == {"level": "skeleton", "until": None, "by": None}
    assert steps == [Level.BLURRED, Level.CLEAR, Level.SKELETON]
    trail = [json.loads(line) for line in (tmp_path / "privacy.log").read_text().splitlines()]
    assert [(one["from"], one["to"], one["by"]) for one in trail] == [
        ("skeleton", "blurred", "patient 7"),
        ("blurred", "clear", "patient 7"),
        ("clear", "skeleton", "expiry"),
    ]
    held.grant(Level.CLEAR, 5, "patient 7")
    held.withdraw("patient 7")
    assert held.level is Level.SKELETON


@pytest.mark.parametrize(
    "args",
    [
        {"level": "naked", "minutes": 5, "by": "x"},
        {"level": "clear", "minutes": 5},
        {"level": "clear", "minutes": 5, "by": "  "},
        {"level": "clear", "by": "x"},
        {"level": "clear", "minutes": 0, "by": "x"},
        {"level": "clear", "minutes": 241, "by": "x"},
        {"level": "clear", "minutes": "long", "by": "x"},
        {"level": "clear", "minutes": True, "by": "x"},
    ],
)
async def test_consent_without_a_name_or_an_end_is_none(tmp_path: Path, args: dict[str, Any]) -> None:
    held = privacy(tmp_path, Clocks())
    with pytest.raises(CommandRefused, match="set_privacy"):
        await held.command(args)
    assert held.level is Level.SKELETON


def test_consent_that_cannot_be_written_down_or_shown_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    held = Privacy(tmp_path / "file" / "privacy.log")
    with pytest.raises(CommandRefused, match="written down"):
        held.grant(Level.CLEAR, 5, "patient")
    assert held.level is Level.SKELETON
    held.withdraw("anybody")
    led = tmp_path / "led"
    dark = privacy(tmp_path, Clocks(), show=lambda level: show_on(led, level))
    with pytest.raises(CommandRefused, match="light"):
        dark.grant(Level.CLEAR, 5, "patient")
    led.mkdir()
    dark.grant(Level.CLEAR, 5, "patient")
    assert (led / "brightness").read_text() == "1"
    dark.withdraw("patient")
    assert (led / "brightness").read_text() == "0"


async def test_consent_ends_with_its_exercise_and_is_nobody_elses(tmp_path: Path, kept: Kept) -> None:
    watch = Watch(AgentSettings(state=tmp_path), kept, WallClock(0, EPOCH_NS))  # type: ignore[arg-type]
    begin = {"session": SESSION, "exercise": "squat"}
    agreed = {"level": "clear", "minutes": 240, "by": "patient 7"}
    await watch.start_session(begin)
    await watch.privacy.command(agreed)
    await watch.start_session(begin)
    assert watch.privacy.level is Level.CLEAR, "reminded of the same exercise"
    await watch.start_session({"session": str(uuid.uuid4()), "exercise": "squat"})
    assert watch.privacy.level is Level.SKELETON, "the next patient agreed to nothing"
    await watch.privacy.command(agreed)
    watch.end_session()
    assert watch.privacy.level is Level.SKELETON
    assert json.loads((tmp_path / "privacy.log").read_text().splitlines()[-1])["by"] == "end of the exercise"


def test_the_trail_is_turned_over_not_lost(tmp_path: Path) -> None:
    (tmp_path / "privacy.log").write_text("x" * (1 << 20) + "x\n")
    privacy(tmp_path, Clocks()).grant(Level.CLEAR, 5, "patient")
    assert len((tmp_path / "privacy.log").read_text().splitlines()) == 1
    assert (tmp_path / "privacy.1").stat().st_size > 1 << 20


def test_the_pace_takes_the_better_model_when_there_is_room_and_not_again_at_once() -> None:
    pace = Pace("auto", fps=15)
    now = 0.0
    for _ in range(60):
        now += 1 / 15
        pace.took(0.008, now)
    assert pace.size == "full"
    for _ in range(80):
        now += 1 / 15
        pace.took(0.09, now)
    assert pace.size == "lite"
    for _ in range(300):
        now += 1 / 15
        pace.took(0.008, now)
    assert pace.size == "lite", "it was too slow a moment ago"
    for _ in range(900):
        now += 1 / 15
        pace.took(0.008, now)
    assert pace.size == "full"


def test_the_pace_slows_down_when_it_is_slow_or_hot() -> None:
    slow = Pace("heavy", fps=15)
    slow.took(0.2, 1.0)
    assert slow.size == "heavy"
    assert slow.interval_s == pytest.approx(0.25)
    quick = Pace("auto", fps=15)
    assert quick.interval_s == pytest.approx(1 / 15)
    for celsius, hot in ((79, False), (80, True), (75, True), (71, False), (None, False)):
        quick.temperature(celsius)
        assert quick.hot is hot
    quick.temperature(85)
    assert quick.interval_s == pytest.approx(2 / 15)
