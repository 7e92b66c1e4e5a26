"""One video stream to many viewers: each packet is received once and passed to every leg; keyframe requests are merged.

A publication outlives its publisher: when a kit goes and comes back, the legs stay and continue at its next keyframe.
Packets are numbered continuously across publishers; the newest HISTORY of them are kept, once for all, to repair
losses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from relay.process.metrics import Metrics
from relay.video import rules
from relay.video.assembly import Assembler, Frame
from relay.video.hooks import MOST_AT_ONCE

HISTORY = 1024
"""Packets kept for repairs: about three seconds at 1 Mbit/s, longer than any viewer waits for a repair."""
BETWEEN_PUBLISHERS = 4096
"""Packet numbers skipped between two publishers, so that no repair mixes their packets."""


@dataclass(slots=True)
class Packet:
    """An RTP packet of the publisher. `tails` caches it as forwarded, once per id of the header extension."""

    index: int
    timestamp: int
    marker: int
    payload: bytes
    key: bool
    tails: dict[int, bytes] = field(default_factory=dict)


class Leg(Protocol):
    """A viewer's end of a publication."""

    bitrate_bps: float | None

    def take(self, burst: Sequence[Packet]) -> None: ...
    def publisher_changed(self) -> None: ...


class Publisher(Protocol):
    """The source of packets; it can be asked for a keyframe."""

    async def keyframe(self) -> None: ...


class Publication:
    """`name` is what viewers ask for; `codec` is H264 or VP8 and never changes, whichever publisher sends."""

    def __init__(self, name: str, codec: str, metrics: Metrics, *, kit: str = "", session: str | None = None) -> None:
        self.name, self.codec, self.kit, self.session = name, codec, kit, session
        self.legs: dict[Leg, None] = {}
        self.publisher: Publisher | None = None
        self.level = "clear"
        self.listeners: dict[Callable[[Frame], None], None] = {}
        self.pose: dict[Callable[[int | None, dict[str, Any]], None], None] = {}
        self.packets = 0
        self.bytes = 0
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._ring: list[Packet | None] = [None] * HISTORY
        self._wish = rules.KeyframeWish()
        self._assembler = Assembler(codec)
        self._burst: list[Packet] = []
        self._index = 0
        self._first = True
        self._asking: set[asyncio.Task[None]] = set()

    # -- publisher's side --------------------------------------------------------------------------------------------

    def attach(self, publisher: Publisher) -> None:
        """Take packets from this publisher from now on; every leg waits for its first keyframe."""
        self.publisher = publisher
        self._first = True
        self._assembler = Assembler(self.codec)
        for leg in list(self.legs):
            leg.publisher_changed()
        if self.legs or self.listeners:
            self.want_keyframe()

    def detach(self, publisher: Publisher) -> None:
        if self.publisher is publisher:
            self.publisher = None

    def forward(self, seq: int, timestamp: int, marker: int, payload: bytes) -> None:
        """Pass one packet to all legs. Empty packets (padding) are passed too, or they would look lost."""
        if self._first:
            self._first = False
            base = self._index + BETWEEN_PUBLISHERS
            index = base + ((seq - base) & 0xFFFF)
        else:
            index = rules.unwrapped(self._index, seq)
        packet = Packet(index, timestamp, marker, payload, rules.starts_keyframe(self.codec, payload))
        self._index = max(self._index, index)
        self._ring[index % HISTORY] = packet
        if packet.key:
            self._wish.wanted = False
        self.packets += 1
        self.bytes += len(payload)
        self._burst.append(packet)
        if marker or len(self._burst) == MOST_AT_ONCE:
            self._flush()
        elif len(self._burst) == 1:
            self._loop.call_soon(self._flush)
        if self.listeners:
            for frame in self._assembler.add(index, timestamp, marker, payload):
                for listener in list(self.listeners):
                    listener(frame)

    def _flush(self) -> None:
        """Forward the packets that arrived together: up to the end of a frame, or all the socket had at once."""
        burst, self._burst = self._burst, []
        if burst:
            for leg in self.legs:
                leg.take(burst)

    def posed(self, timestamp: int | None, pose: dict[str, Any]) -> None:
        """Pass on the pose of the frame with this RTP timestamp (the publisher's); None while no frame is sent."""
        for listener in list(self.pose):
            listener(timestamp, pose)

    def most_bps(self) -> float | None:
        """The bit rate (bit/s) most viewers' lines can carry, for the publisher's encoder; None without an estimate."""
        return rules.share_of(leg.bitrate_bps for leg in self.legs if leg.bitrate_bps is not None)

    # -- viewers' side -----------------------------------------------------------------------------------------------

    def join(self, leg: Leg) -> None:
        self.legs[leg] = None
        self.want_keyframe()

    def leave(self, leg: Leg) -> None:
        self.legs.pop(leg, None)

    def listen(self, listener: Callable[[Frame], None]) -> None:
        """Subscribe to whole frames, starting with a keyframe."""
        if not self.listeners:
            self._assembler = Assembler(self.codec)
        self.listeners[listener] = None
        self.want_keyframe()

    def unlisten(self, listener: Callable[[Frame], None]) -> None:
        self.listeners.pop(listener, None)

    def kept(self, low_bits: int) -> Packet | None:
        """The packet in the history whose number ends in these 16 bits; None if it is no longer kept."""
        packet = self._ring[rules.unwrapped(self._index, low_bits) % HISTORY]
        return packet if packet is not None and packet.index & 0xFFFF == low_bits else None

    def want_keyframe(self) -> None:
        """Ask the publisher for a keyframe, at most every KEY_EVERY_S, and again until one arrives."""
        self._wish.wanted = True
        self._ask()

    def _ask(self) -> None:
        if not self._wish.wanted or self.publisher is None:
            return
        if self._wish.due(self._loop.time()):
            self._metrics.video_keyframe_requests.inc()
            task = self._loop.create_task(_quietly(self.publisher.keyframe()))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
            self._loop.call_later(rules.KEY_EVERY_S + 0.01, self._ask)


async def _quietly(asking: Awaitable[None]) -> None:
    """Ignores errors of a publisher that is closing; the next one will be asked again."""
    try:
        await asking
    except (ConnectionError, AttributeError):
        return
