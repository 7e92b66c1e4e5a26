"""Shares the hand detectors among clients: each client has at most one waiting picture, the newest, and all take turns.

A fixed number of detectors work in threads of their own; the event loop only passes pictures to them. A client's
pictures are processed one after the other with that client's own tracker, so that hands of different clients are never
confused.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import structlog

from core.fingerspelling.hand import Floats
from relay.errors import DetectorMissing, InvalidImage
from relay.process.metrics import Metrics
from relay.signs.detection.pictures import Pixels

REOPEN_S = 5.0

log = structlog.get_logger(__name__)


class SeenHand(Protocol):
    """One detected hand; `landmarks` is float32[21, 3], x and y 0-1 in the picture."""

    @property
    def landmarks(self) -> Floats: ...
    @property
    def handedness(self) -> Literal["Left", "Right"]: ...


class Detector(Protocol):
    """Finds hands. `followed` is the client's tracker state: None at first, then what the previous call returned."""

    def follow(self, image_bgr: Pixels, t_ns: int, followed: Any) -> tuple[Sequence[SeenHand], Any]: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """The first hand in a picture, or none; `aspect` is the picture's width divided by its height."""

    hand: SeenHand | None
    aspect: float
    problem: InvalidImage | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """A picture to process: `open` decodes it (in the detector's thread), `done` gets the result (on the event
    loop).
    """

    open: Callable[[], Pixels]
    t_ns: int
    done: Callable[[Seen], None]


@dataclass(eq=False, slots=True)
class Client:
    """A client that sends pictures: at most one waits, and at most one is being processed."""

    waiting: Look | None = None
    busy: bool = False
    queued: bool = False
    gone: bool = False
    dropped: int = 0
    followed: Any = field(default=None, repr=False)


class Lookout:
    """The detectors and their queue. `run` starts them once they are wanted; `problem` says why there are none."""

    def __init__(
        self, make: Callable[[], Detector], lacking: Callable[[], str | None], detectors: int, metrics: Metrics
    ) -> None:
        self._make = make
        self._wanted = asyncio.Event()
        self._count = detectors
        self._metrics = metrics
        self._waiting: deque[Client] = deque()
        self._news = asyncio.Event()
        self.problem = lacking() if detectors else "detectors = 0 in the settings"

    def offer(self, client: Client, look: Look) -> None:
        """Queue a picture; one of the same client that still waits is dropped. Raises DetectorMissing."""
        if self.problem is not None:
            raise DetectorMissing(f"Hands cannot be detected here: {self.problem}.")
        if client.waiting is not None:
            client.dropped += 1
            self._metrics.signs_dropped.labels("frame").inc()
        client.waiting = look
        self._queue(client)

    def wake(self) -> None:
        """Start the detectors, since a client is about to send pictures. A relay that nobody signs to never
        loads them.
        """
        self._wanted.set()

    def leave(self, client: Client) -> None:
        client.gone, client.waiting = True, None

    def _queue(self, client: Client) -> None:
        if not client.busy and not client.queued and client.waiting is not None:
            client.queued = True
            self._waiting.append(client)
            self._news.set()
            self._wanted.set()

    async def run(self) -> None:
        """Wait until detectors are wanted, then open them and serve the queue, never returning. Raises
        DetectorMissing.
        """
        if not self._count:
            await asyncio.Event().wait()
        await self._wanted.wait()
        with ThreadPoolExecutor(self._count, thread_name_prefix="hands") as pool:
            loop = asyncio.get_running_loop()
            detectors = await asyncio.gather(*(loop.run_in_executor(pool, self._make) for _ in range(self._count)))
            self.problem = None
            log.info("hand_detectors_ready", count=self._count)
            try:
                async with asyncio.TaskGroup() as workers:
                    for detector in detectors:
                        workers.create_task(self._work(detector, pool))
            finally:
                self.problem = "the hand detector failed and is starting again"

    async def open_for_ever(self) -> None:
        """Like `run`, for a relay that may lack the extra `vision`: reports that as a problem, and tries again from
        time to time.
        """
        while True:
            try:
                await self.run()
            except DetectorMissing as error:
                if str(error) != self.problem:
                    log.warning("hand_detectors_missing", reason=str(error))
                self.problem = str(error)
                await asyncio.sleep(REOPEN_S)

    async def _work(self, detector: Detector, pool: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client = await self._next()
            look, client.waiting, client.busy = client.waiting, None, True
            try:
                if look is not None:
                    seen, client.followed = await loop.run_in_executor(pool, _look, detector, look, client.followed)
                    self._metrics.signs_frames.labels("yes" if seen.hand else "no").inc()
                    if not client.gone:
                        look.done(seen)
            finally:
                client.busy = False
                self._queue(client)

    async def _next(self) -> Client:
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        client = self._waiting.popleft()
        client.queued = False
        return client


def _look(detector: Detector, look: Look, followed: Any) -> tuple[Seen, Any]:
    try:
        picture = look.open()
    except InvalidImage as error:
        return Seen(None, 1.0, error), followed
    hands, followed = detector.follow(picture, look.t_ns, followed)
    return Seen(hands[0] if hands else None, picture.shape[1] / picture.shape[0]), followed


def now_ns() -> int:
    return time.monotonic_ns()
