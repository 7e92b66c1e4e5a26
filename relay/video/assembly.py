"""Reassembles whole frames from RTP packets, for recordings, snapshots, and viewers served frame by frame.

Packets may arrive late or twice. A missing packet is waited for until PATIENCE later ones have arrived; then everything
up to the next keyframe is dropped. A frame is delivered as soon as its last packet (marker bit) has arrived.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aiortc.codecs import depayload
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from relay.video.rules import starts_keyframe

PATIENCE = 128


@dataclass(frozen=True, slots=True)
class Frame:
    """An encoded picture: H.264 as Annex B, VP8 unchanged. `timestamp` is in 90 kHz ticks and does not wrap."""

    data: bytes
    timestamp: int
    key: bool


class Assembler:
    """`add` packets in any order; complete frames are returned in order, the first of them a keyframe."""

    def __init__(self, codec: str) -> None:
        self.lost = 0
        self._codec = RTCRtpCodecParameters(mimeType=f"video/{codec}", clockRate=90_000, payloadType=0)
        self._name = codec
        self._early: dict[int, tuple[int, int, bytes]] = {}
        self._next: int | None = None
        self._parts: list[bytes] = []
        self._key = False
        self._timestamp = 0

    def add(self, index: int, timestamp: int, marker: int, payload: bytes) -> Iterator[Frame]:
        """Add one packet and yield the frames it completes. `index` is the packet's sequence number, extended so as not
        to wrap.
        """
        if self._next is None:
            if not starts_keyframe(self._name, payload):
                return
            self._next = index
        if index < self._next:
            return
        self._early[index] = (timestamp, marker, payload)
        if len(self._early) > PATIENCE:
            self._give_up()
        while self._next is not None and self._next in self._early:
            frame = self._append(*self._early.pop(self._next))
            self._next += 1
            if frame is not None:
                yield frame

    def _append(self, timestamp: int, marker: int, payload: bytes) -> Frame | None:
        if not self._parts:
            self._key = False
        self._key = self._key or starts_keyframe(self._name, payload)
        try:
            self._parts.append(depayload(self._codec, payload) if payload else b"")
        except ValueError:
            self.lost += 1
        self._timestamp += ((timestamp - self._timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        if not marker:
            return None
        data = b"".join(self._parts)
        self._parts.clear()
        return Frame(data, self._timestamp, self._key) if data else None

    def _give_up(self) -> None:
        """Skip to the first keyframe that has already arrived, or wait for the next one."""
        self.lost += 1
        self._parts.clear()
        keys = [index for index, (_, _, payload) in self._early.items() if starts_keyframe(self._name, payload)]
        self._next = min(keys, default=None)
        self._early = {index: kept for index, kept in self._early.items() if keys and index >= min(keys)}
