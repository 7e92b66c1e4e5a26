"""Rooms: all viewers of one session, and fan-out to them. JSON is encoded and framed once and written to each.

Live data, so the newest matters most: a viewer whose socket is full becomes a cursor into the room's ring of frames and
is replayed from there; frames the ring no longer holds are dropped and counted. No viewer delays another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import Protocol

from relay.wire import text_frame

MAX_WAITING_BYTES = 1_048_576
"""Bytes of direct answers a member may leave unread, so that a client that never reads cannot fill the memory."""


class Audience(Enum):
    """Kind of member; a frame is sent to one or more kinds."""

    PATIENT = 1
    VIEWER = 2
    ANALYST = 3


WATCHERS = (Audience.VIEWER, Audience.ANALYST)
EVERYONE = (Audience.PATIENT, Audience.VIEWER, Audience.ANALYST)


class Outlet(Protocol):
    """The part of a connection (relay.wire.Connection) that is used for writing."""

    @property
    def paused(self) -> bool: ...
    @property
    def waiting_bytes(self) -> int: ...
    @property
    def write_frame(self) -> Callable[[bytes], None]: ...
    def end(self, code: int, reason: str = "") -> None: ...


@dataclass(eq=False, slots=True)
class Member:
    """One socket in a room. `cursor` is the number of the next frame to send it; None while it keeps up."""

    outlet: Outlet
    audience: Audience
    cursor: int | None = None
    dropped: int = 0


@dataclass(eq=False, slots=True)
class Room:
    """Fan-out of one session. `ring` holds the frames of the last `keep_ms`, at most `size`, each with its audiences.

    `ready` holds, by audience, the write functions of members that keep up; the loop over it is the relay's hot path.
    """

    now_ms: Callable[[], float]
    size: int = 4096
    keep_ms: float = 10_000.0
    on_drop: Callable[[int], None] = lambda _: None
    members: set[Member] = field(default_factory=set)
    written: int = 0
    ring: deque[tuple[float, tuple[Audience, ...], bytes]] = field(default_factory=deque)
    ready: dict[Audience, dict[Member, Callable[[bytes], None]]] = field(init=False)

    def __post_init__(self) -> None:
        self.ready = {audience: {} for audience in Audience}

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    def join(self, member: Member) -> None:
        self.members.add(member)
        if member.outlet.paused:
            member.cursor = self.written
        else:
            self.ready[member.audience][member] = member.outlet.write_frame

    def hold(self, member: Member) -> None:
        """Let a member get no frames of the room until `release`."""
        self.ready[member.audience].pop(member, None)

    def release(self, member: Member) -> None:
        if member not in self.members or member.cursor is not None:
            return
        if member.outlet.paused:
            member.cursor = self.written
        else:
            self.ready[member.audience][member] = member.outlet.write_frame

    def leave(self, member: Member) -> None:
        self.members.discard(member)
        self.ready[member.audience].pop(member, None)

    def move(self, member: Member, audience: Audience) -> None:
        """Move `member` to another audience."""
        write = self.ready[member.audience].pop(member, None)
        member.audience = audience
        if write is not None:
            self.ready[audience][member] = write

    def publish(self, payload: bytes, audiences: tuple[Audience, ...]) -> None:
        frame = text_frame(payload)
        self._remember(audiences, frame)
        for audience in audiences:
            for write in tuple(self.ready[audience].values()):
                write(frame)

    def _remember(self, audiences: tuple[Audience, ...], frame: bytes) -> None:
        now_ms = self.now_ms()
        self.ring.append((now_ms, audiences, frame))
        self.written += 1
        while len(self.ring) > self.size or self.ring[0][0] < now_ms - self.keep_ms:
            self.ring.popleft()

    def send(self, member: Member, payload: bytes) -> None:
        """Send to one member only; dropped and counted if it leaves too many answers unread."""
        if member.outlet.waiting_bytes > MAX_WAITING_BYTES:
            member.dropped += 1
            self.on_drop(1)
        else:
            member.outlet.write_frame(text_frame(payload))

    def fall_behind(self, member: Member) -> None:
        """The member's socket is full: from now on it is a cursor. Called from within the write that filled it."""
        if self.ready[member.audience].pop(member, None) is not None:
            member.cursor = self.written

    def catch_up(self, member: Member) -> None:
        """Send a slow member what it missed, as far as the ring goes back and its socket accepts it."""
        if member.cursor is None:
            return
        oldest = self.written - len(self.ring)
        if member.cursor < oldest:
            missed = oldest - member.cursor
            member.dropped += missed
            self.on_drop(missed)
            member.cursor = oldest
        for _, audiences, frame in tuple(islice(self.ring, member.cursor - oldest, None)):
            if member.outlet.paused:
                return
            member.cursor += 1
            if member.audience in audiences:
                member.outlet.write_frame(frame)
        if not member.outlet.paused and member in self.members:
            member.cursor = None
            self.ready[member.audience][member] = member.outlet.write_frame

    def close(self, code: int, reason: str) -> None:
        for member in tuple(self.members):
            member.outlet.end(code, reason)
