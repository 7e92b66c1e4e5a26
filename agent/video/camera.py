"""The slot's frames as a track of encoded packets. Frames that the gate forbids never reach the encoder.

The gate is asked for every frame. Since an encoder may hold frames back, it is discarded whenever the level changes.
Encoding runs in a thread; of the frames that arrive meanwhile, only the newest is used. Timestamps come from the
capture times, so that a pose can be matched to its frame.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from agent.privacy import Level
from agent.sources.slot import Frame, Slot
from agent.video.encoder import CLOCK, Codec, Encoder
from agent.video.steps import Steps
from agent.video.veil import Points, veiled

REMEMBERED = 128
"""Frames whose timestamps are remembered to match poses: about four seconds."""
LOOK_S = 0.25
POSE_HOLDS_NS = 400_000_000
"""A body found longer ago than this no longer shows where it is now."""


class Gate(Protocol):
    """What the patient currently allows to leave the home."""

    @property
    def level(self) -> Level: ...


class CameraTrack(MediaStreamTrack):
    """The track that aiortc's sender reads. `landmarks` returns the newest pose and its picture's capture time, or
    None.
    """

    kind = "video"

    def __init__(
        self,
        slot: Slot,
        gate: Gate,
        codec: Codec,
        steps: Steps,
        fps: float,
        landmarks: Callable[[], tuple[Points, int] | None],
    ) -> None:
        super().__init__()
        self.frames = self.withheld = self.bytes = 0
        self._slot, self._gate, self._codec, self._steps, self._fps = slot, gate, codec, steps, fps
        self._landmarks = landmarks
        self._encoder: Encoder | None = None
        self._level = Level.SKELETON
        self._after = 0
        self._first_ns: int | None = None
        self._wants_key = True
        self._pts: OrderedDict[int, int] = OrderedDict()
        self._last_pts = 0
        self._origin: int | None = None
        self.last_sent: Callable[[], int | None] = lambda: None
        """Returns the RTP timestamp of the last packet sent; set by the owner of the sender."""

    def want_keyframe(self) -> None:
        self._wants_key = True

    def timestamp_of(self, captured_ns: int) -> int | None:
        """The RTP timestamp with which the frame captured then was sent, if it was."""
        pts = self._pts.get(captured_ns)
        return None if pts is None or self._origin is None else (self._origin + pts) & 0xFFFFFFFF

    async def recv(self) -> av.Packet[Any]:
        if self._origin is None and self.frames and (last := self.last_sent()) is not None:
            self._origin = last - self._last_pts  # asked for the next, the sender has sent the last
        while True:
            frame = await self._allowed()
            level = self._asked()
            if level is Level.SKELETON:
                continue
            key, self._wants_key = self._wants_key, False
            pts = self._stamp(frame)
            data = await asyncio.to_thread(self._encoded, frame, pts, level, key=key)
            if data and self._gate.level >= level:
                return self._packet(data, pts, frame)
            self._wants_key = self._wants_key or key or bool(data)

    async def _allowed(self) -> Frame:
        """The newest frame; waits while the gate lets no picture out."""
        while self.readyState == "live":
            frame = await self._slot.newest(self._after)
            self._after = frame.number
            if self._asked() is not Level.SKELETON:
                return frame
            self.withheld += 1
            await asyncio.sleep(LOOK_S)
        raise MediaStreamError

    def _asked(self) -> Level:
        """The current level. On a change, the encoder is discarded, so that nothing of another level remains in it."""
        level = self._gate.level
        if level is not self._level:
            self._level, self._encoder, self._wants_key = level, None, True
        return level

    def _stamp(self, frame: Frame) -> int:
        if self._first_ns is None:
            self._first_ns = frame.captured_ns
        return (frame.captured_ns - self._first_ns) * 9 // 100_000

    def _encoded(self, frame: Frame, pts: int, level: Level, *, key: bool) -> bytes:
        image = frame.image if level is Level.CLEAR else veiled(frame.image, self._body(frame.captured_ns))
        height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
        encoder = self._encoder
        if encoder is None or encoder.size != (width, height) or encoder.rate_bps != self._steps.rate_bps:
            encoder = self._encoder = Encoder(self._codec, width, height, self._steps.rate_bps, self._fps)
        return encoder.encode(image[:height, :width], pts, key=key)

    def _body(self, captured_ns: int) -> Points | None:
        found = self._landmarks()
        return found[0] if found is not None and abs(captured_ns - found[1]) <= POSE_HOLDS_NS else None

    def _packet(self, data: bytes, pts: int, frame: Frame) -> av.Packet[Any]:
        self._pts[frame.captured_ns] = self._last_pts = pts
        while len(self._pts) > REMEMBERED:
            self._pts.popitem(last=False)
        self.frames += 1
        self.bytes += len(data)
        packet = av.Packet(data)
        packet.pts, packet.time_base = pts, CLOCK
        return packet
