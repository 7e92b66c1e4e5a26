"""The media folder and its playback: a file is read once, in real time and in a loop, for everybody who watches it.

A file browsers can play as it is (H.264 without B-frames, a keyframe every few seconds) is forwarded unchanged. Any
other is re-encoded, once for all viewers. A name outside the folder is treated as not existing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
from aiortc.codecs import get_encoder
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av.bitstream import BitStreamFilterContext

from relay.errors import SourceMissing
from relay.video import sample
from relay.video.publication import Publication

SAMPLE = "sample_video.mp4"
SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})
KEY_WITHIN_S = 3.0
"""Most seconds between keyframes; a file with fewer keyframes is re-encoded, so that nobody waits longer for a
picture.
"""
CHUNK = 15
MAX_HEIGHT = 720
MISSING = "Failed to create video stream: Video file not found"
_TIME_BASE = Fraction(1, 90_000)


@dataclass(frozen=True, slots=True)
class Unit:
    """An encoded picture and when it is due, in seconds from the start of the file."""

    data: bytes
    at_s: float


class MediaFolder:
    """The folder in which `video_path` is looked up; the sample video is created there when first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._making = asyncio.Lock()
        self._made = False

    @property
    def sample(self) -> Path:
        return self.folder / SAMPLE

    async def prepare(self) -> bool:
        """Create the sample video if it is missing (takes half a second; tried once per run). Whether it exists now."""
        async with self._making:
            if not self._made and not self.sample.is_file():
                await asyncio.to_thread(sample.make, self.sample)
            self._made = True
        return self.sample.is_file()

    def find(self, name: str | None) -> Path:
        """The path of a file in the folder; None means the sample. SourceMissing, in the document's words, for anything
        else.
        """
        path = self.sample if name is None else self._inside(name)
        if path is None or not path.is_file():
            raise SourceMissing(MISSING)
        return path

    def _inside(self, name: str) -> Path | None:
        if not name or len(name) > 255 or "\\" in name or "\0" in name or ":" in name or name.startswith("/"):
            return None
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder.resolve()) or path.suffix.lower() not in SUFFIXES:
            return None
        return path


class FilePublisher:
    """Plays a file into its publication while anybody watches."""

    def __init__(self, path: Path, publication: Publication) -> None:
        self._path, self._publication = path, publication
        self._encoder: Any = get_encoder(RTCRtpCodecParameters(mimeType="video/H264", clockRate=90_000, payloadType=0))
        self._seq = 0
        self._wants_key = threading.Event()

    async def keyframe(self) -> None:
        self._wants_key.set()

    async def play(self) -> None:
        """Play in a loop until cancelled. Raises SourceMissing if the file cannot be played."""
        loop = asyncio.get_running_loop()
        began, passed = loop.time(), 0.0
        while True:
            units = self._units()
            length = 0.0
            while chunk := await asyncio.to_thread(lambda: list(islice(units, CHUNK))):  # noqa: B023  awaited at once
                for unit in chunk:
                    due = began + passed + unit.at_s
                    await asyncio.sleep(max(0.0, due - loop.time()))
                    self._send(unit, passed)
                    length = unit.at_s
                if loop.time() - due > 1.0:
                    began = loop.time() - passed - length
            if length == 0.0:
                raise SourceMissing(MISSING)
            passed += length + 1 / sample.RATE

    def _send(self, unit: Unit, passed_s: float) -> None:
        packet = av.Packet(unit.data)
        packet.pts, packet.time_base = round((passed_s + unit.at_s) * 90_000), _TIME_BASE
        payloads, timestamp = self._encoder.pack(packet)
        for number, payload in enumerate(payloads):
            self._publication.forward(self._seq, timestamp & 0xFFFFFFFF, int(number == len(payloads) - 1), payload)
            self._seq = (self._seq + 1) & 0xFFFF

    def _units(self) -> Iterator[Unit]:
        try:
            if playable(self._path):
                yield from _copied(self._path)
            else:
                yield from _encoded(self._path, self._wants_key)
        except (av.FFmpegError, OSError, IndexError):
            return


def playable(path: Path) -> bool:
    """Whether browsers can play the file's own packets. Raises av.FFmpegError if it is not a video."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        if context.name != "h264" or context.has_b_frames or "High" in (context.profile or "High"):
            return False
        keys = [float(p.pts * p.time_base) for p in container.demux(stream) if p.is_keyframe and p.pts is not None]
        length = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        ends = [*keys, length]
        return all(b - a <= KEY_WITHIN_S for a, b in pairwise(ends))


def _copied(path: Path) -> Iterator[Unit]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        annex_b = BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in container.demux(stream):
            if packet.pts is None:
                continue
            at_s = float(packet.pts * packet.time_base)
            for part in annex_b.filter(packet):
                yield Unit(bytes(part), at_s)


def _encoded(path: Path, wants_key: threading.Event) -> Iterator[Unit]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = Fraction(min(30, round(float(stream.average_rate or 30))))
        width, height = _fitted(stream.codec_context.width, stream.codec_context.height)
        encoder = _encoder(width, height, rate)
        for number, frame in enumerate(container.decode(stream)):
            picture = frame.reformat(width=width, height=height, format="yuv420p")
            picture.pts, picture.time_base = number, 1 / rate
            if wants_key.is_set():
                wants_key.clear()
                picture.pict_type = av.video.frame.PictureType.I
            else:
                picture.pict_type = av.video.frame.PictureType.NONE
            data = b"".join(bytes(packet) for packet in encoder.encode(picture))
            if data:
                yield Unit(data, float(frame.time if frame.time is not None else number / rate))


def _encoder(width: int, height: int, rate: Fraction) -> Any:
    context: Any = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.framerate, context.time_base = rate, 1 / rate
    context.profile = "Baseline"
    context.options = {"preset": "veryfast", "tune": "zerolatency", "crf": "26", "g": str(int(rate)), "level": "31"}
    return context


def _fitted(width: int, height: int) -> tuple[int, int]:
    """Width and height scaled down, to even numbers, so that any browser's H.264 level 3.1 decoder can take them."""
    scale = min(1.0, MAX_HEIGHT / height, 1280 / width)
    return int(width * scale) // 2 * 2, int(height * scale) // 2 * 2


def ensure_video(path: Path) -> None:
    """Raises SourceMissing if the file holds no video that can be opened."""
    try:
        with av.open(str(path)) as container:
            found = bool(container.streams.video)
    except (av.FFmpegError, OSError):
        found = False
    if not found:
        raise SourceMissing(MISSING)
