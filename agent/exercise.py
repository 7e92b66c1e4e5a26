"""An exercise session on the kit: poses become the documented frames, sent to the relay in small batches and stored.

Angles come from world landmarks, so the camera's position does not matter; those of a hidden side are omitted. A pose
missed for a moment is interpolated between two detected ones and marked as such.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import numpy as np
import structlog

from agent.errors import CommandRefused
from agent.outbox import Outbox
from agent.vision.pose import Pose
from agent.wall_clock import WallClock
from core.contracts.physio import FormIssue, Frame, Landmark, LandmarkName, Processing
from core.motion.angles import joint_angles
from core.motion.between import LONGEST_MS, between
from core.motion.exercises import EXERCISES
from core.motion.reps import RepCounter
from core.motion.view import SIDEWAYS_FROM, advice, believed, near_side, seen_well, turned_away

log = structlog.get_logger(__name__)

BATCH_S = 0.2
NOBODY_EVERY_MS = 1_000.0
"""How often to report, in ms, that nobody is seen."""
MAX_MISSED = 32
NAMES = get_args(LandmarkName)
ADVICE_AFTER_MS = 1_000.0
UNTRUSTED = 0.5
"""Factor on a frame's quality while its angles rest on estimated depth."""
DEFAULT_JOINT = "knee"
MADE_UP = 0.5
"""The highest quality an interpolated frame can have."""


class _Moment(NamedTuple):
    t_ms: float
    pose: Pose


class Exercise:
    """`take` is given each picture's pose, or None; frames are sent in batches of 0.2 s."""

    def __init__(self, outbox: Outbox, wall: WallClock, *, now_ms: Callable[[], int]) -> None:
        self.session: str | None = None
        self.name: str | None = None
        self.frames = 0
        self.unrecorded = 0
        """Poses that arrived while no exercise was running."""
        self._outbox, self._wall, self._now_ms = outbox, wall, now_ms
        self._counter: RepCounter | None = None
        self._pending: list[Frame] = []
        self._filled: list[int] = []
        self._missed: list[float] = []
        self._last: _Moment | None = None
        self._last_ms = 0
        self._told_ms = 0.0
        self._badly_since: float | None = None
        self._turned: float | None = None
        self._advice: str | None = None
        self._people = 0
        self._live: dict[str, Any] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, session: str, name: str) -> None:
        """Start a session, to which frames now belong; if it is already running, nothing changes."""
        if session == self.session:
            return
        self.end()
        self.session, self.name, self.frames = session, name, 0
        rules = EXERCISES.get(name)
        self._counter = RepCounter(rules) if rules is not None and rules.hold is None else None
        self._last = self._badly_since = self._advice = self._turned = None
        self._missed, self._last_ms, self._told_ms = [], 0, 0.0
        log.info("exercise_started", session=session, exercise=name)

    def end(self) -> None:
        self.flush()
        if self.session is not None:
            log.info("exercise_ended", session=self.session, frames=self.frames)
        self.session = self.name = self._counter = None

    def take(self, pose: Pose | None, captured_ns: int, about: dict[str, Any]) -> None:
        """Take a pose and the time its picture was taken (monotonic ns).

        `about` is sent to viewers beside the frames; its `size`, [width, height] of the picture, is stored with each
        frame.
        """
        if self.session is None:
            self.unrecorded += pose is not None
            return
        t_ms = float(self._wall.epoch_ms(np.array([captured_ns], float))[0])
        self._live = about
        if pose is None:
            self._missed = [*self._missed, t_ms][-MAX_MISSED:]
            if self._pending or t_ms - self._told_ms >= NOBODY_EVERY_MS:
                self._soon()
            return
        now = _Moment(t_ms, pose)
        for filled in self._between(now):
            self._filled.append(int(filled.t_ms))
            self._add(filled, made_up=True)
        self._missed, self._last = [], now
        self._judge(now)
        self._add(now)

    def figures(self) -> dict[str, Any]:
        return {
            "session": self.session,
            "exercise": self.name,
            "frames": self.frames,
            "repetitions": self._counter.count if self._counter is not None else None,
            "turnedAway": None if self._turned is None else round(self._turned),
            "advice": self._advice,
            "people": self._people,
        }

    def flush(self) -> None:
        """Put the frames collected so far into the outbox."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        frames, self._pending = self._pending, []
        filled, self._filled = self._filled, []
        if self.session is None or not (frames or self._missed):
            return
        self._told_ms = frames[-1].timestamp if frames else self._missed[-1]
        counter = self._counter
        live = {
            **self._live,
            "repetitions": counter.count if counter is not None else None,
            "phase": counter.phase.value if counter is not None else None,
            "turnedAway": None if self._turned is None else round(self._turned),
            "advice": self._advice,
            "people": self._people if frames else 0,
            "interpolated": filled,
        }
        self.frames += len(frames)
        payload = {"sessionId": self.session, "frames": frames, "live": live}
        self._outbox.put("pose_frames", payload, self.session, self._now_ms())

    def _between(self, now: _Moment) -> list[_Moment]:
        """Interpolated poses for the moments in which nobody was seen, if the gap was short enough."""
        last = self._last
        if last is None or not self._missed or now.t_ms - last.t_ms > LONGEST_MS:
            return []
        made = []
        for t_ms in self._missed:
            marks = between(t_ms, last.t_ms, last.pose.landmarks, now.t_ms, now.pose.landmarks)
            world = between(t_ms, last.t_ms, last.pose.world, now.t_ms, now.pose.world)
            if marks is not None and world is not None:
                seen = np.minimum(last.pose.visibility, now.pose.visibility)
                score = min(last.pose.score, now.pose.score)
                made.append(_Moment(t_ms, Pose(marks, seen, world, score, now.pose.people)))
        return made

    def _add(self, moment: _Moment, *, made_up: bool = False) -> None:
        timestamp = int(moment.t_ms)
        if timestamp <= self._last_ms:
            return
        self._last_ms = timestamp
        pose = moment.pose
        angles = believed(joint_angles(pose.world, pose.visibility), pose.world)
        self._count(moment.t_ms, angles)
        sideways = turned_away(pose.world) >= SIDEWAYS_FROM
        seen = seen_well(pose.visibility, self._joint, near_side(pose.world) if sideways else None)
        trust = UNTRUSTED if self._advice else 1.0
        most = MADE_UP if made_up else 1.0
        quality = round(min(most, max(0.0, min(1.0, pose.score * seen * trust))), 2)
        rounded = {joint: round(angle, 1) for joint, angle in angles.items()}
        how = Processing(tuple(self._live["size"]) if "size" in self._live else None, made_up)
        self._pending.append(Frame(timestamp, landmarks_of(pose), rounded, quality, self._issues() or None, how))
        self._soon()

    @property
    def _joint(self) -> str:
        rules = EXERCISES.get(self.name or "")
        return rules.joint if rules is not None else DEFAULT_JOINT

    def _count(self, t_ms: float, angles: dict[str, float]) -> None:
        sides = [angles[key] for key in (f"{self._joint}_left", f"{self._joint}_right") if key in angles]
        if self._counter is not None and sides:
            self._counter.push(t_ms, sum(sides) / len(sides))

    def _judge(self, moment: _Moment) -> None:
        """Update the advice: given once it has applied for ADVICE_AFTER_MS, withdrawn at once."""
        self._people = moment.pose.people
        turned = turned_away(moment.pose.world)
        self._turned = turned if self._turned is None else self._turned + 0.2 * (turned - self._turned)
        words = advice(self._joint, self._turned)
        if words is None:
            self._badly_since = self._advice = None
            return
        if self._badly_since is None:
            self._badly_since = moment.t_ms
        if moment.t_ms - self._badly_since >= ADVICE_AFTER_MS:
            self._advice = words

    def _issues(self) -> list[FormIssue]:
        return [FormIssue("VISIBILITY_WARNING", self._advice, "LOW", self._joint)] if self._advice else []

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_S, self.flush)


def landmarks_of(pose: Pose) -> list[Landmark]:
    """The pose's landmarks in the form of the physiotherapy document."""
    points = np.round(pose.landmarks.astype(float), 4).tolist()
    seen = np.round(np.clip(pose.visibility.astype(float), 0, 1), 3).tolist()
    return [Landmark(name, x, y, z, visible) for name, (x, y, z), visible in zip(NAMES, points, seen, strict=True)]


def session_of(args: dict[str, Any]) -> tuple[str, str]:
    """The session and exercise in a command's arguments. Raises CommandRefused when either is missing or malformed."""
    name = args.get("exercise")
    try:
        session = str(uuid.UUID(str(args.get("session"))))
    except ValueError:
        raise CommandRefused("start_session: with an exercise, session is the UUID of the planned session") from None
    if not isinstance(name, str) or not 0 < len(name) <= 100:
        raise CommandRefused("start_session: exercise is a name such as squat")
    return session, name
