"""Rooms: everyone who looks at one session, and fan-out to them. JSON made once, framed once, written to each.

Live data, so the newest wins: a viewer whose socket is full becomes a cursor into the room's ring of frames and is
replayed from there; what the ring no longer holds is dropped and counted. Nobody waits for anybody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Flag, auto
from itertools import islice
from typing import Protocol

from relay.wire import text_frame

MAX_WAITING_BYTES = 1_048_576
"""Own answers one member may leave unread: stops a sender that never reads from filling the memory."""


class Audience(Flag):
    """Who a frame is for; a member is one or more of these."""

    PATIENT = auto()
    VIEWER = auto()
    ANALYST = auto()
    EVERYONE = PATIENT | VIEWER | ANALYST


class Outlet(Protocol):
    """The writing half of a connection (relay.wire.Connection)."""

    @property
    def paused(self) -> bool: ...
    @property
    def waiting_bytes(self) -> int: ...
    def write_frame(self, frame: bytes) -> None: ...
    def end(self, code: int, reason: str = "") -> None: ...


@dataclass(eq=False, slots=True)
class Member:
    """One socket in a room. `cursor` is the number of the next frame it needs, or None while it keeps up."""

    outlet: Outlet
    audience: Audience
    cursor: int | None = None
    dropped: int = 0


@dataclass(eq=False, slots=True)
class Room:
    """Fan-out of one session. `ring` holds the last frames as (audience, bytes); frame numbers never repeat."""

    size: int = 64
    on_drop: Callable[[int], None] = lambda _: None
    members: set[Member] = field(default_factory=set)
    ring: deque[tuple[Audience, bytes]] = field(init=False)
    written: int = 0

    def __post_init__(self) -> None:
        self.ring = deque(maxlen=self.size)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    def join(self, member: Member) -> None:
        self.members.add(member)

    def leave(self, member: Member) -> None:
        self.members.discard(member)

    def publish(self, payload: bytes, audience: Audience) -> None:
        frame = text_frame(payload)
        self.ring.append((audience, frame))
        number = self.written
        self.written += 1
        for member in tuple(self.members):
            if member.cursor is not None:
                continue
            if member.outlet.paused:
                member.cursor = number
            elif member.audience & audience:
                member.outlet.write_frame(frame)

    def send(self, member: Member, payload: bytes) -> None:
        """To one member only; dropped and counted when it asks and asks but does not read the answers."""
        if member.outlet.waiting_bytes > MAX_WAITING_BYTES:
            member.dropped += 1
            self.on_drop(1)
        else:
            member.outlet.write_frame(text_frame(payload))

    def catch_up(self, member: Member) -> None:
        """Replay what a slow member missed, as far as the ring reaches and its socket takes it."""
        if member.cursor is None:
            return
        oldest = self.written - len(self.ring)
        if member.cursor < oldest:
            missed = oldest - member.cursor
            member.dropped += missed
            self.on_drop(missed)
            member.cursor = oldest
        for audience, frame in tuple(islice(self.ring, member.cursor - oldest, None)):
            if member.outlet.paused:
                return
            member.cursor += 1
            if member.audience & audience:
                member.outlet.write_frame(frame)
        if not member.outlet.paused:
            member.cursor = None

    def close(self, code: int, reason: str) -> None:
        for member in tuple(self.members):
            member.outlet.end(code, reason)
