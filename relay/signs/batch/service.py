"""Recorded videos, read in the background: one job at a time, the others wait; each has a status and can be cancelled.

A job queues for the hand detectors like any signing client, so that a long video never keeps a patient waiting. The
file is deleted when its job ends, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from core.contracts.signs import BatchLetter, BatchOptions, BatchResult, BatchStatus
from core.fingerspelling.letters import LetterReader, Network
from core.fingerspelling.reader import SignReader
from core.fingerspelling.sequence import Sequence, Taken
from relay.errors import DetectorMissing, Full, NotFound, RelayError
from relay.signs.batch.film import Picture, pictures
from relay.signs.batch.gateway import Fetcher
from relay.signs.detection.lookout import Client, Look, Lookout, Seen
from relay.signs.translation.service import TranslationService

KEPT = 200
"""Finished jobs whose result is kept."""
FETCHED = 0.3
"""Share of a job's progress (0-1) given to fetching the video."""
ESTIMATE_MS = 5000

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class Job:
    """One video: fetched from `url`, or already at `path`."""

    id: str
    owner: str | None
    language: str
    options: BatchOptions
    path: Path
    url: str | None = None
    status: BatchStatus = field(init=False)
    task: asyncio.Task[None] | None = None
    cancelled: bool = False

    def __post_init__(self) -> None:
        self.status = BatchStatus(job_id=self.id, status="processing")


class BatchService:
    """Jobs by id: `fetch` or `upload` one, `find` it, `cancel` it. `run` executes them one after the other."""

    def __init__(
        self,
        fetcher: Fetcher,
        lookout: Lookout,
        network: Network,
        translation: TranslationService,
        folder: Path,
        *,
        most_waiting: int,
        most_minutes: float,
    ) -> None:
        self._fetcher = fetcher
        self._lookout = lookout
        self._network = network
        self._translation = translation
        self._folder = folder
        self._waiting: asyncio.Queue[Job] = asyncio.Queue(most_waiting)
        self._most_minutes = most_minutes
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def fetch(self, url: str, language: str, options: BatchOptions, owner: str | None) -> Job:
        """A job whose video is fetched. Raises VideoRefused for a URL that may not be fetched, Full when too many jobs
        wait.
        """
        self._fetcher.check(url)
        return self._begin(language, options, owner, url)

    def upload(self, language: str, options: BatchOptions, owner: str | None) -> Job:
        """A job whose file the caller writes to its `path` and then passes to `ready`."""
        return self._job(language, options, owner, None)

    def ready(self, job: Job) -> None:
        try:
            self._waiting.put_nowait(job)
        except asyncio.QueueFull:
            job.path.unlink(missing_ok=True)
            raise Full("Too many videos are waiting. Try again when one is done.") from None
        self._jobs[job.id] = job
        while len(self._jobs) > KEPT + self._waiting.maxsize:
            self._jobs.popitem(last=False)

    def find(self, job_id: str, owner: str | None) -> Job:
        """The job with this id. Raises NotFound, also for somebody else's job."""
        job = self._jobs.get(job_id)
        if job is None or owner not in (None, job.owner):
            raise NotFound("Job not found")
        return job

    def cancel(self, job: Job) -> None:
        """Cancel and forget the job; its video is deleted at once, or when its turn comes."""
        job.cancelled = True
        self._jobs.pop(job.id, None)
        if job.task is not None:
            job.task.cancel()
        if job.status.status == "processing":
            _fail(job, "CANCELLED", "The job was cancelled.")

    async def run(self) -> None:
        """Execute jobs, never returning. Files left by a relay that was killed are deleted first."""
        await asyncio.to_thread(_empty, self._folder)
        while True:
            job = await self._waiting.get()
            if job.cancelled:
                job.path.unlink(missing_ok=True)
                continue
            job.task = asyncio.create_task(self._do(job))
            try:
                await asyncio.wait([job.task])
            finally:
                job.task.cancel()
                job.path.unlink(missing_ok=True)
            self._settle(job, job.task)

    def _settle(self, job: Job, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            _fail(job, "CANCELLED", "The job was cancelled.")
            return
        fault = task.exception()
        if isinstance(fault, RelayError):
            _fail(job, fault.code, str(fault))
        elif fault is not None:
            log.error("batch_failed", job=job.id, exc_info=fault)
            _fail(job, "INTERNAL", "The relay failed to read this video; the operator finds the job in its log.")

    def _begin(self, language: str, options: BatchOptions, owner: str | None, url: str) -> Job:
        job = self._job(language, options, owner, url)
        self.ready(job)
        return job

    def _job(self, language: str, options: BatchOptions, owner: str | None, url: str | None) -> Job:
        identity = str(uuid.uuid4())
        return Job(identity, owner, language, options, self._folder / identity, url)

    async def _do(self, job: Job) -> None:
        def fetched(share: float) -> None:
            job.status.progress = round(FETCHED * share, 3)

        if job.url is not None:
            await self._fetcher.fetch(job.url, job.path, fetched)
        taken, hands = await self._read(job)
        letters = [one for one in taken if one.confidence >= job.options.confidence_threshold]
        job.status.result = await self._result(job, letters)
        if not letters:
            job.status.code = "INVALID_SIGN" if hands else "NO_HAND_DETECTED"
        job.status.progress, job.status.status = 1.0, "completed"

    async def _result(self, job: Job, letters: list[Taken]) -> BatchResult:
        """The result; empty if nothing was spelled, which is an answer and not a failure."""
        if not letters:
            return BatchResult(translation="", signs_detected=[], confidence=0.0)
        signs = [one.sign for one in letters]
        seen = [dict(one.likely) for one in letters]
        found = await self._translation.spelled(signs, seen, f"batch-{job.id}", language=job.language, owner=job.owner)
        return BatchResult(
            translation=found.translation,
            signs_detected=signs,
            confidence=round(min(found.confidence, sum(one.confidence for one in letters) / len(letters)), 3),
            letters=[BatchLetter(sign=one.sign, confidence=one.confidence, time_ms=one.t_ms) for one in letters],
        )

    async def _read(self, job: Job) -> tuple[list[Taken], int]:
        """The letters of the whole video, and in how many pictures a hand was found; a pause between words becomes a
        space.
        """
        reader, spelling = SignReader(LetterReader(self._network)), Sequence()
        client, taken, hands = Client(), list[Taken](), 0
        try:
            async with contextlib.aclosing(_stream(job.path, job.options.frame_rate, self._most_minutes)) as film:
                async for picture in film:
                    seen = await self._look(client, picture)
                    sight = (
                        reader.nothing(picture.t_ms)
                        if seen.hand is None
                        else reader.see(
                            picture.t_ms,
                            seen.hand.landmarks,
                            aspect=seen.aspect,
                            right=seen.hand.handedness == "Right",
                        )
                    )
                    hands += sight.hand
                    spelling.see(sight)
                    if spelling.quiet(picture.t_ms):
                        taken += [*spelling.commit(), Taken(" ", 1.0, picture.t_ms)]
                    job.status.progress = round(FETCHED + (1 - FETCHED) * picture.share, 3)
        finally:
            self._lookout.leave(client)
        taken += spelling.commit()
        while taken and taken[-1].sign == " ":
            taken.pop()
        return taken, hands

    async def _look(self, client: Client, picture: Picture) -> Seen:
        done: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()

        def told(seen: Seen) -> None:
            if not done.done():
                done.set_result(seen)

        self._lookout.offer(client, Look(lambda: picture.pixels, int(picture.t_ms * 1e6), told))
        try:
            return await asyncio.wait_for(done, 30.0)
        except TimeoutError:
            raise DetectorMissing("The hand detector does not answer.") from None


async def _stream(path: Path, rate: float, most_minutes: float) -> AsyncGenerator[Picture, None]:
    """Decode the video in threads, one picture at a time, so that memory never holds more than one."""
    film: Iterator[Picture] = pictures(path, rate, most_minutes)
    while (picture := await asyncio.to_thread(next, film, None)) is not None:
        yield picture


def _fail(job: Job, code: str, text: str) -> None:
    job.status.status, job.status.code, job.status.error = "failed", code, text


def _empty(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in folder.iterdir():
        left.unlink(missing_ok=True)
