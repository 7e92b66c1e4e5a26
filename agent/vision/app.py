"""The vision side of a kit: camera, analysing process, exercise, fingerspelling, and what may leave the home.

Created by the agent's wiring (agent/app.py) only if a camera is set; works with and without other sensors.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np

from agent.errors import CameraUnusable, CommandRefused, ModelsMissing
from agent.exercise import Exercise, landmarks_of, session_of
from agent.indicator import show_on
from agent.outbox import Outbox
from agent.privacy import Level, Privacy
from agent.process.backoff import Backoff
from agent.process.supervisor import supervise
from agent.settings import AgentSettings
from agent.sources.camera.choose import device_of
from agent.sources.camera.source import CameraSource
from agent.sources.slot import Slot
from agent.spelling import Spelling
from agent.spelling import session_of as signing_session
from agent.video.app import build_video
from agent.video.veil import shown
from agent.vision.eyes import Eyes, Seen
from agent.wall_clock import WallClock

RETRY_S = (0.1, 5.0)
EXPIRY_EVERY_S = 1.0
Arguments = dict[str, Any]


class Watch:
    """`run` until a video file ends, or forever. `changed` is called when status should be published again."""

    def __init__(
        self, settings: AgentSettings, outbox: Outbox, wall: WallClock, *, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.slot = Slot()
        self.seen: Callable[[Seen], None] = lambda _: None
        """A further receiver of results, set by the wiring."""
        camera = settings.source.camera
        self.camera = CameraSource(camera, partial(device_of, camera), self.slot)
        self.privacy = Privacy(
            settings.state / "privacy.log", show=partial(show_on, settings.privacy.led), changed=self._stepped
        )
        self.exercise = Exercise(outbox, wall, now_ms=lambda: time.time_ns() // 1_000_000)
        self.spelling = Spelling(outbox, wall, now_ms=lambda: time.time_ns() // 1_000_000)
        self.eyes = Eyes(settings.vision, self.slot, self._see)
        self.video = build_video(settings, self.slot, self.privacy)
        self._usual = settings.vision.mode
        self._changed = changed
        self._problems: dict[str, tuple[str, int]] = {}

    async def run(self) -> None:
        """Raises CameraUnusable for a file that cannot be played, ModelsMissing when a model is missing."""
        self.privacy.begin()
        if self._usual == "hands":
            self.spelling.begin(*signing_session({}))
        beside = [
            asyncio.create_task(self._kept("vision", self.eyes.run, self._looked)),
            asyncio.create_task(self._expire()),
        ]
        if self.video is not None:
            beside.append(asyncio.create_task(self._kept("video", self.video.run, self._connected)))
        filming = asyncio.create_task(self._kept("camera", self.camera.run, self._filmed))
        try:
            await asyncio.wait([filming, *beside], return_when=asyncio.FIRST_COMPLETED)
            for task in (filming, *beside):
                if task.done():
                    task.result()
        finally:
            self.privacy.end()
            for task in (filming, *beside):
                task.cancel()
            await asyncio.gather(filming, *beside, return_exceptions=True)
            self.exercise.flush()
            self.spelling.end()

    def end(self) -> None:
        self.exercise.end()
        self.spelling.end()

    def commands(self) -> dict[str, Callable[[Arguments], Awaitable[dict[str, Any]]]]:
        return {"set_privacy": self.privacy.command, "look": self._look}

    async def start_session(self, args: Arguments) -> dict[str, Any]:
        """Start a planned exercise: poses are its frames from now on."""
        session, name = session_of(args)
        self._agreed_no_longer(session)
        self.spelling.end()
        self.exercise.begin(session, name)
        self.eyes.mode = "pose"
        return {"session": session, "exercise": name}

    def end_session(self) -> str | None:
        """End the exercise and return its session, if one was running; the configured mode applies again."""
        session = self.exercise.session
        self._agreed_no_longer(None)
        self.exercise.end()
        self.eyes.mode = self._usual
        return session

    def _agreed_no_longer(self, session: str | None) -> None:
        """Withdraw consent when the exercise changes or ends: it was given for that one only."""
        if session != self.exercise.session and self.privacy.level is not Level.SKELETON:
            self.privacy.withdraw("end of the exercise")

    def figures(self) -> dict[str, Any]:
        """Figures for status."""
        return {
            "camera": {**self.camera.figures(), "problem": self._problem("camera", self.camera.frames)},
            "vision": {**self.eyes.figures(), "problem": self._problem("vision", self.eyes.looked)},
            "exercise": self.exercise.figures(),
            "spelling": self.spelling.figures(),
            "privacy": self.privacy.figures(),
            "video": self._video(),
        }

    def _see(self, seen: Seen) -> None:
        if seen.mode == "pose":
            about = {"fps": round(self.eyes.fps, 1), "ageMs": round(seen.age_ms), "size": _size(seen)}
            self.exercise.take(seen.pose, seen.frame.captured_ns, about)
            if self.video is not None and seen.pose is not None:
                found = seen.pose
                marks = msgspec.to_builtins(landmarks_of(found))
                body = {"landmarks": marks, "people": found.people, "size": _size(seen)}
                points = np.column_stack((found.landmarks, found.visibility))
                told = points if shown(found.landmarks, found.people) else None
                self.video.pose(seen.frame.captured_ns, body, told)
        else:
            width, height = _size(seen)
            self.spelling.take(seen.hands, seen.frame.captured_ns, width / height)
        self.seen(seen)

    async def _look(self, args: Arguments) -> dict[str, Any]:
        mode = args.get("for")
        if mode not in ("pose", "hands", None):
            raise CommandRefused("look: for is pose, hands or null")
        if self.exercise.session is not None:
            raise CommandRefused("look: an exercise is going on; end_session first")
        self.spelling.end()
        if mode == "hands":
            self.spelling.begin(*signing_session(args))
        self.eyes.mode = mode
        return {"look": mode, "session": self.spelling.session}

    async def _kept(self, name: str, duty: Callable[[], Awaitable[None]], count: Callable[[], int]) -> None:
        def troubled(text: str) -> None:
            news = text != self._problem(name, count())
            self._problems[name] = text, count()
            if news:
                self._changed()

        fatal = (CameraUnusable, ModelsMissing)
        await supervise(name, duty, Backoff(*RETRY_S), troubled=troubled, fatal=fatal, progress=count)

    def _problem(self, name: str, count: int) -> str | None:
        """The problem last reported, until `count` shows progress again."""
        text, then = self._problems.get(name, (None, 0))
        return text if count <= then else None

    def _filmed(self) -> int:
        return self.camera.frames

    def _looked(self) -> int:
        return self.eyes.looked

    def _connected(self) -> int:
        return self.video.connections if self.video is not None else 0

    def _video(self) -> dict[str, Any] | None:
        if self.video is None:
            return None
        return {**self.video.figures(), "problem": self._problem("video", self.video.connections)}

    def _stepped(self, _: Level) -> None:
        self._changed()

    async def _expire(self) -> None:
        """Check regularly, so that expired consent ends and its light goes out even if nobody asks."""
        while True:
            await asyncio.sleep(EXPIRY_EVERY_S)
            _ = self.privacy.level


def _size(seen: Seen) -> list[int]:
    height, width = seen.frame.image.shape[:2]
    return [width, height]
