"""One picture to many viewers: its packets are taken once and handed to every leg, its keyframes asked for once.

A publication outlives its publisher: when a kit goes and comes back, the legs stay and go on at its next keyframe.
Packets keep a running number over publishers; the newest HISTORY of them are kept, once for all, to repair losses.
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
"""About three seconds of a megabit: longer than any viewer's patience for a repair."""
BETWEEN_PUBLISHERS = 4096
"""Running numbers left free where a publisher was followed by another, so that no repair mixes the two."""


@dataclass(slots=True)
class Packet:
    """An RTP packet of the publisher. `tails` holds it as it is sent on, once per number of the extension."""

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
    """Where packets come from; it can be asked for a keyframe."""

    async def keyframe(self) -> None: ...


class Publication:
    """`name` is what viewers ask for; `codec` is H264 or VP8 and the same for all publishers it ever has."""

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
        """This one's packets count from now on; every leg waits for its first keyframe."""
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
        """One packet from the publisher to all legs; an empty one (padding) too, or it would be missed as lost."""
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
        """What has come in one go leaves in one go: to the end of a frame, or of what the socket had to give."""
        burst, self._burst = self._burst, []
        if burst:
            for leg in self.legs:
                leg.take(burst)

    def posed(self, timestamp: int | None, pose: dict[str, Any]) -> None:
        """The pose of the frame with this RTP timestamp of the publisher's; None while no frame goes out."""
        for listener in list(self.pose):
            listener(timestamp, pose)

    def most_bps(self) -> float | None:
        """What the viewers' lines carry, for the publisher's encoder."""
        return rules.share_of(leg.bitrate_bps for leg in self.legs if leg.bitrate_bps is not None)

    # -- viewers' side -----------------------------------------------------------------------------------------------

    def join(self, leg: Leg) -> None:
        self.legs[leg] = None
        self.want_keyframe()

    def leave(self, leg: Leg) -> None:
        self.legs.pop(leg, None)

    def listen(self, listener: Callable[[Frame], None]) -> None:
        """Whole frames, beginning with a keyframe."""
        if not self.listeners:
            self._assembler = Assembler(self.codec)
        self.listeners[listener] = None
        self.want_keyframe()

    def unlisten(self, listener: Callable[[Frame], None]) -> None:
        self.listeners.pop(listener, None)

    def kept(self, low_bits: int) -> Packet | None:
        """The packet of history whose running number ends in these 16 bits."""
        packet = self._ring[rules.unwrapped(self._index, low_bits) % HISTORY]
        return packet if packet is not None and packet.index & 0xFFFF == low_bits else None

    def want_keyframe(self) -> None:
        """Ask the publisher, not more often than every KEY_EVERY_S, and again until one comes."""
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
    """A publisher on its way out cannot be asked; whoever comes next will be."""
    try:
        await asking
    except (ConnectionError, AttributeError):
        return
