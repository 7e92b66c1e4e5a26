"""Runs the process that finds poses or hands in pictures, and survives its dying, hanging or growing too large.

One picture is processed at a time and the next is always the newest, so nothing queues and a slow model skips pictures.
The shared memory has no name, so nothing is left behind by a crash. `run` ends with VisionLost and is then run again.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import structlog

from agent.errors import ModelsMissing, VisionLost
from agent.sections import Vision
from agent.sources.camera.upright import LONGEST_SIDE
from agent.sources.slot import Frame, Slot
from agent.vision import messages
from agent.vision.hands import Hand
from agent.vision.messages import Failed, Look, Mode, Ready, Saw
from agent.vision.pace import Pace
from agent.vision.pose import Pose

log = structlog.get_logger(__name__)

MEMORY_BYTES = LONGEST_SIDE * LONGEST_SIDE * 3
READY_WITHIN_S = 30.0
END_WITHIN_S = 1.0
MODE_LOOK_S = 0.5
AGES_KEPT = 150
TEMPERATURE_EVERY_S = 5.0
THERMAL = Path("/sys/class/thermal/thermal_zone0/temp")


class Seen(NamedTuple):
    """The result for one picture: a pose or None, or hands; `frame` is the picture, `took_ms` the processing time."""

    frame: Frame
    mode: Mode
    pose: Pose | None
    hands: list[Hand]
    took_ms: float
    age_ms: float


class Eyes:
    """`run` analyses the frames in `slot` while a mode is set, and calls `seen`. Without a mode there is no process."""

    def __init__(self, settings: Vision, slot: Slot, seen: Callable[[Seen], None]) -> None:
        self.starts = 0
        self.recycled = 0
        self.looked = 0
        self._settings, self._slot, self._seen = settings, slot, seen
        self._pace = Pace(settings.model, settings.fps)
        self._ages: deque[tuple[float, float]] = deque(maxlen=AGES_KEPT)
        self._took_ms = 0.0
        self._rss = 0
        self._last = 0
        self._loaded: tuple[str, str] | None = None
        """Mode and size of the model loaded in the process. The first picture with another takes as long as a start."""
        self._temperature_at = 0.0
        self._temperature: float | None = None
        self._wanted = asyncio.Event()
        self._mode: Mode | None = None
        self.mode = settings.mode

    @property
    def mode(self) -> Mode | None:
        """What to look for; may be set at any time, and applies from the next picture on."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode | None) -> None:
        self._mode = mode
        if mode is None:
            self._wanted.clear()
        else:
            self._wanted.set()

    async def run(self) -> None:
        """Raises VisionLost when the process must be started again, ModelsMissing when that would not help."""
        while True:
            await self._wanted.wait()
            await self._look_on()

    async def _look_on(self) -> None:
        """Run one process until no mode is set or it has grown too large."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = os.memfd_create("homeside-picture", os.MFD_CLOEXEC)
        os.truncate(memory, MEMORY_BYTES)
        with ours, mmap.mmap(memory, MEMORY_BYTES) as shared:
            ours.setblocking(False)
            try:
                child = await self._start(theirs, memory)
            finally:
                theirs.close()
                os.close(memory)
            self._loaded = None
            leaving = asyncio.create_task(child.wait())
            try:
                await self._ready(ours)
                while self._fits and (frame := await self._next(leaving)) is not None:
                    await self._once(ours, shared, frame)
            finally:
                ours.close()
                await _ended(child, leaving)

    def figures(self) -> dict[str, Any]:
        """Figures for status: the measured rate and the measured age of results."""
        ages = sorted(age for _, age in self._ages)
        return {
            "mode": self.mode,
            "backend": self._settings.backend,
            "model": self._pace.size,
            "fps": round(self.fps, 1),
            "tookMs": round(self._took_ms, 1),
            "ageMs": round(ages[len(ages) // 2], 1) if ages else None,
            "ageP95Ms": round(ages[int(0.95 * (len(ages) - 1))], 1) if ages else None,
            "looked": self.looked,
            "starts": self.starts,
            "recycled": self.recycled,
            "rssBytes": self._rss,
            "temperatureC": self._temperature,
            "hot": self._pace.hot,
        }

    @property
    def fps(self) -> float:
        """Pictures analysed per second, over the last few seconds."""
        if len(self._ages) < 2 or time.monotonic() - self._ages[-1][0] > 5.0:
            return 0.0
        return (len(self._ages) - 1) / max(1e-3, self._ages[-1][0] - self._ages[0][0])

    async def _start(self, theirs: socket.socket, memory: int) -> asyncio.subprocess.Process:
        fds = (theirs.fileno(), memory)
        words = [*map(str, fds), str(MEMORY_BYTES), self._settings.backend, str(self._settings.threads)]
        self.starts += 1
        nothing = asyncio.subprocess.DEVNULL
        said = nothing if self._settings.backend == "mediapipe" else None
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent.vision.worker", *words, pass_fds=fds, stdin=nothing, stderr=said
        )

    async def _ready(self, channel: socket.socket) -> None:
        answer = await self._answer(channel, READY_WITHIN_S)
        if isinstance(answer, Failed):
            raise (ModelsMissing if answer.code == ModelsMissing.code else VisionLost)(answer.text)
        if not isinstance(answer, Ready):
            raise VisionLost("the process that looks at pictures began with something else than ready")
        log.info("vision_ready", pid=answer.pid, backend=answer.backend)

    @property
    def _fits(self) -> bool:
        if self._rss <= self._settings.memory_bytes:
            return True
        self.recycled += 1
        log.warning("vision_recycled", rss_bytes=self._rss, ceiling=self._settings.memory_bytes)
        self._rss = 0
        return False

    async def _next(self, leaving: asyncio.Task[int]) -> Frame | None:
        """The newest picture; None when no mode is set any more. VisionLost when the process ends meanwhile."""
        while self.mode is not None:
            coming = asyncio.create_task(self._slot.newest(self._last))
            try:
                await asyncio.wait([coming, leaving], timeout=MODE_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            finally:
                coming.cancel()
            if leaving.done():
                raise VisionLost(f"the process that looks at pictures ended by itself with {leaving.result()}")
            if coming.done() and not coming.cancelled():
                return coming.result()
        return None

    async def _once(self, channel: socket.socket, shared: mmap.mmap, frame: Frame) -> None:
        began, mode = time.monotonic(), self.mode
        self._last = frame.number
        if mode is None:
            return
        height, width = frame.image.shape[:2]
        target = np.frombuffer(shared, np.uint8, frame.image.size).reshape(frame.image.shape)
        np.copyto(target, frame.image)
        del target
        look = Look(frame.number, frame.captured_ns, height, width, mode, self._pace.size)
        answer = await self._asked(channel, look)
        if isinstance(answer, Failed):
            raise (ModelsMissing if answer.code == ModelsMissing.code else VisionLost)(answer.text)
        if isinstance(answer, Saw):
            self._tell(frame, mode, answer)
        await asyncio.sleep(max(0.0, began + self._pace.interval_s * 0.9 - time.monotonic()))

    async def _asked(self, channel: socket.socket, look: Look) -> messages.Answer:
        try:
            await asyncio.get_running_loop().sock_sendall(channel, messages.encode(look))
        except OSError as error:
            raise VisionLost(f"the process that looks at pictures is gone: {error.strerror}") from None
        loaded, self._loaded = self._loaded, (look.mode, look.size)
        return await self._answer(channel, self._settings.hang_s if loaded == self._loaded else READY_WITHIN_S)

    def _tell(self, frame: Frame, mode: Mode, saw: Saw) -> None:
        now = time.monotonic()
        age_ms = (time.monotonic_ns() - frame.captured_ns) / 1e6
        self.looked += 1
        self._took_ms, self._rss = saw.took_ms, saw.rss_bytes
        self._ages.append((now, age_ms))
        self._pace.took(saw.took_ms / 1000, now)
        if now >= self._temperature_at:
            self._temperature_at, self._temperature = now + TEMPERATURE_EVERY_S, temperature()
            self._pace.temperature(self._temperature)
        pose = messages.pose_of(saw.body) if saw.body is not None else None
        hands = [messages.hand_of(hand) for hand in saw.hands]
        self._seen(Seen(frame, mode, pose, hands, saw.took_ms, age_ms))

    async def _answer(self, channel: socket.socket, within_s: float) -> messages.Answer:
        try:
            async with asyncio.timeout(within_s):
                data = await asyncio.get_running_loop().sock_recv(channel, messages.MAX_MESSAGE)
        except TimeoutError:
            raise VisionLost(f"the process that looks at pictures hangs for {within_s:.0f} s") from None
        except OSError as error:
            raise VisionLost(f"the process that looks at pictures is gone: {error.strerror}") from None
        if not data:
            raise VisionLost("the process that looks at pictures ended by itself")
        try:
            return messages.decode_answer(data)
        except msgspec.MsgspecError as error:
            raise VisionLost(f"the process that looks at pictures talks nonsense: {error}") from None


def temperature() -> float | None:
    """The processor's temperature in °C; None where the kernel does not provide it."""
    try:
        return int(THERMAL.read_text()) / 1000
    except (OSError, ValueError):
        return None


async def _ended(child: asyncio.subprocess.Process, leaving: asyncio.Task[int]) -> None:
    """Wait for the process, which ends when its socket is closed, and kill it if it does not; always reaped, so no
    zombies.
    """
    try:
        await asyncio.wait([leaving], timeout=END_WITHIN_S)
    finally:
        if not leaving.done():
            with suppress(ProcessLookupError):
                child.kill()
            await asyncio.wait([leaving], timeout=END_WITHIN_S)
