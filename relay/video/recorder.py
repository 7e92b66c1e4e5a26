"""Recordings, started only by a person: what the kit sent, in a file that survives a crash.

Fragmented MP4 (one fragment per second, synced soon after), so that an unfinished file plays up to its last second.
Beside each file is a small JSON file: kit, session, start time by the relay's clock, and who wanted the recording.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import structlog

from relay.errors import Conflict, Full, NotFound
from relay.video.assembly import Frame
from relay.video.publication import Publication

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}-\d{13}")
WAITING_FRAMES = 300
WRITE_EVERY_S = 0.25
LEAST_FREE_BYTES = 512 * 1024 * 1024
MOST_STEP = 2 * 90_000
"""A larger step between timestamps (90 kHz ticks) means another publisher; the relay's own clock then gives the
time.
"""
_CLOCK = Fraction(1, 90_000)
_FORMATS = {
    "H264": (
        "h264",
        "mp4",
        {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "1000000", "flush_packets": "1"},
    ),
    "VP8": ("vp8", "webm", {"live": "1", "cluster_time_limit": "1000", "flush_packets": "1"}),
}

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class About:
    """The JSON beside a recording. Times are epoch ms; `ended_ms` is missing if the relay was killed."""

    id: str
    kit: str
    session: str | None
    by: str
    codec: str
    started_ms: int
    ended_ms: int | None = None
    frames: int = 0
    dropped: int = 0


class Recording:
    """One recording, from its first keyframe on. The duty `write` writes and closes the file; `finish` tells it
    to end.
    """

    def __init__(self, folder: Path, publication: Publication, by: str) -> None:
        now_ms = time.time_ns() // 1_000_000
        identity = f"{publication.kit}-{now_ms}"
        self.about = About(identity, publication.kit, publication.session, by, publication.codec, now_ms)
        self.publication = publication
        self._name, self._kind, self._options = _FORMATS[publication.codec]
        self.path = folder / f"{identity}.{self._kind}"
        self._beside = folder / f"{identity}.json"
        self._frames: deque[tuple[Frame, float]] = deque()
        self._starting = True
        self._finishing = asyncio.Event()
        self._container: Any = None
        self._stream: Any = None
        self._last = (0, 0)
        self._began_s = 0.0
        publication.listen(self._take)

    def _take(self, frame: Frame) -> None:
        if self._starting and not frame.key:
            self.about.dropped += 1
            return
        self._starting = False
        if len(self._frames) >= WAITING_FRAMES:
            self.about.dropped += 1
            self._starting = True
            self.publication.want_keyframe()
            return
        self._frames.append((frame, asyncio.get_running_loop().time()))

    async def write(self) -> None:
        """Write until `finish` is called. Raises Full if the disk is full. Only one thread uses the file at a time."""
        try:
            await asyncio.to_thread(self._tell)
            ends = False
            while not ends:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._finishing.wait(), WRITE_EVERY_S)
                ends = self._finishing.is_set()
                await asyncio.to_thread(self._write)
        finally:
            self.finish()
            await asyncio.to_thread(self._close)

    def finish(self) -> None:
        """End the recording; frames received so far are still written."""
        self.publication.unlisten(self._take)
        self.about.ended_ms = self.about.ended_ms or time.time_ns() // 1_000_000
        self._finishing.set()

    def _write(self) -> None:
        if shutil.disk_usage(self.path.parent).free < LEAST_FREE_BYTES:
            raise Full("The relay's disk is nearly full: the recording has ended")
        while self._frames:
            frame, at_s = self._frames.popleft()
            if self._container is None:
                self._open(frame, at_s)
            packet = av.Packet(frame.data)
            packet.stream, packet.time_base, packet.is_keyframe = self._stream, _CLOCK, frame.key
            packet.pts = packet.dts = self._due(frame, at_s)
            self._container.mux(packet)
            self.about.frames += 1
        if self._container is not None:
            _to_disk(self.path)

    def _due(self, frame: Frame, at_s: float) -> int:
        """Presentation time (90 kHz ticks): by the publisher's timestamps, or by the relay's clock across a change of
        publisher.
        """
        timestamp, pts = self._last
        step = frame.timestamp - timestamp
        due = pts + step if 0 < step < MOST_STEP else max(pts + 1, round((at_s - self._began_s) * 90_000))
        self._last = frame.timestamp, due
        return due

    def _open(self, frame: Frame, at_s: float) -> None:
        picture = _decoded(self._name, frame.data)
        self._began_s = at_s
        self._last = frame.timestamp - 1, -1
        self._container = av.open(str(self.path), "w", format=self._kind, options=self._options)
        self._stream = self._container.add_stream(self._name, rate=30)
        self._stream.width, self._stream.height, self._stream.pix_fmt = picture.width, picture.height, "yuv420p"
        self._stream.time_base = _CLOCK
        if self._name == "h264":
            self._stream.codec_context.extradata = _parameter_sets(frame.data)

    def _close(self) -> None:
        try:
            if self._container is not None:
                self._container.close()
        finally:
            self._tell()

    def _tell(self) -> None:
        part = self._beside.with_suffix(".part")
        part.write_text(json.dumps(asdict(self.about)))
        part.replace(self._beside)


class Recordings:
    """All recordings of one relay: those in progress, and the folder of finished ones."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, tuple[Recording, asyncio.Task[None]]] = {}

    def running(self, kit: str) -> About | None:
        """The recording in progress of this kit; None if there is none."""
        found = self._running.get(kit)
        return found[0].about if found is not None else None

    def begin(self, publication: Publication, by: str) -> About:
        """Start recording this camera. Raises Conflict if it is already being recorded."""
        if publication.kit in self._running:
            raise Conflict(f"Kit {publication.kit} is being recorded; end that recording first")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        recording = Recording(self._folder, publication, by)
        task = asyncio.create_task(recording.write(), name=f"records {publication.kit}")
        self._running[publication.kit] = recording, task
        task.add_done_callback(lambda done: self._ended(recording, done))
        log.info("video_recording", kit=publication.kit, recording=recording.about.id)
        return recording.about

    async def end(self, kit: str) -> About:
        found = self._running.pop(kit, None)
        if found is None:
            raise NotFound(f"Kit {kit} is not being recorded")
        recording, task = found
        recording.finish()
        await asyncio.wait([task])
        return recording.about

    async def end_all(self) -> None:
        for kit in list(self._running):
            await self.end(kit)

    def listed(self) -> list[dict[str, Any]]:
        """All recordings, newest first, including those in progress and those cut short."""
        beside = sorted(self._folder.glob("*.json"), key=lambda path: path.stem.rpartition("-")[2], reverse=True)
        found = [json.loads(path.read_text()) for path in beside]
        running = {recording.about.id for recording, _ in list(self._running.values())}
        return [{**about, "running": about["id"] in running} for about in found]

    def file(self, identity: str) -> Path:
        """The file of a recording. Raises NotFound for a name that is not a recording's."""
        if NAME.fullmatch(identity):
            for _, kind, _ in _FORMATS.values():
                path = self._folder / f"{identity}.{kind}"
                if path.is_file():
                    return path
        raise NotFound("There is no such recording")

    def _ended(self, recording: Recording, task: asyncio.Task[None]) -> None:
        """Remove a recording that failed from those in progress; its file ends where writing stopped."""
        if task.cancelled() or task.exception() is None:
            return
        kit = recording.publication.kit
        log.error("video_recording_failed", kit=kit, reason=str(task.exception()))
        if (found := self._running.get(kit)) is not None and found[0] is recording:
            del self._running[kit]


async def snapshot(publication: Publication, within_s: float = 5.0) -> bytes:
    """The next keyframe as JPEG. Raises NotFound if none arrives within `within_s` seconds."""
    waiting: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()

    def take(frame: Frame) -> None:
        if frame.key and not waiting.done():
            waiting.set_result(frame)

    publication.listen(take)
    try:
        frame = await asyncio.wait_for(waiting, within_s)
    except TimeoutError:
        raise NotFound("No picture comes from this camera now") from None
    finally:
        publication.unlisten(take)
    name, _, _ = _FORMATS[publication.codec]
    return await asyncio.to_thread(_jpeg, name, frame.data)


def _decoded(name: str, data: bytes) -> av.VideoFrame:
    decoder: Any = av.CodecContext.create(name, "r")
    frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    if not frames:
        raise NotFound("The camera's picture cannot be decoded")
    picture: av.VideoFrame = frames[0]
    return picture


def _jpeg(name: str, data: bytes) -> bytes:
    picture = _decoded(name, data).reformat(format="yuvj420p")
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuvj420p"
    encoder.time_base = Fraction(1, 30)
    picture.pts, picture.time_base = 0, Fraction(1, 30)
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])


def _parameter_sets(data: bytes) -> bytes:
    """The SPS and PPS units of an Annex B keyframe."""
    units = re.split(rb"\x00\x00\x00?\x01", data)
    return b"".join(b"\x00\x00\x00\x01" + unit for unit in units if unit and unit[0] & 0x1F in (7, 8))


def _to_disk(path: Path) -> None:
    """Sync what was written so far, so that it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
