"""One timer session in memory: its state, the one scheduled wake-up, and the sockets that listen.

Nothing ticks. A wake-up that comes before anything is due (the turn changed meanwhile) only schedules the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from relay.clock import Timescale, Wake
from relay.rooms import Audience, Member, Room
from relay.timers import expiry, views
from relay.timers.states import Changed, Event, State, TimeWarning, deadline_ms

WINDOW_MS = 1_000


@dataclass(eq=False, slots=True)
class Live:
    """A session in use. `switches` holds the times of the last switches, for the rate limit."""

    state: State
    touched_ms: int
    room: Room | None = None
    narrowed: dict[Member, set[str]] | None = None
    switches: deque[int] | None = None
    wake: Wake | None = None
    wake_ms: int = 0
    gone: bool = False
    revision: int = 0

    @property
    def id(self) -> str:
        return self.state.plan.session_id

    # -- the next moment ------------------------------------------------------------------------------------------

    def settle(self, now_ms: int) -> tuple[Event, ...]:
        """Apply everything due by now; returns the events."""
        step = expiry.settle(self.state, now_ms)
        self.state = step.state
        return step.events

    def arm(self, timescale: Timescale, callback: Callable[[], None], *, later_ms: int = 0) -> None:
        """Schedule a wake-up for the next due moment, plus `later_ms`. An earlier one that is scheduled stays."""
        due = None if self.gone else deadline_ms(self.state)
        due = None if due is None else due + later_ms
        if self.wake is not None:
            if due is not None and self.wake_ms <= due:
                return
            self.wake.cancel()
            self.wake = None
        if due is not None:
            self.wake_ms = due
            self.wake = timescale.call_at(due, callback)

    def may_switch(self, now_ms: int, most_per_s: int) -> bool:
        """Count a switch; False when the last second (of the steady clock) had `most_per_s` already."""
        if self.switches is None:
            self.switches = deque()
        while self.switches and self.switches[0] <= now_ms - WINDOW_MS:
            self.switches.popleft()
        if len(self.switches) >= most_per_s:
            return False
        self.switches.append(now_ms)
        return True

    # -- who listens ----------------------------------------------------------------------------------------------

    def join(self, member: Member, make_room: Callable[[], Room]) -> None:
        if self.room is None:
            self.room = make_room()
        self.room.join(member)

    def leave(self, member: Member) -> None:
        if self.room is not None:
            self.room.leave(member)
            if not self.room.members:
                self.room = None
        if self.narrowed is not None:
            self.narrowed.pop(member, None)

    def narrow(self, member: Member, participant_id: str) -> None:
        """From now on this socket gets only these participants' messages.

        They are not in the ring: missed ones are counted.
        """
        if self.room is None:
            return
        if self.narrowed is None:
            self.narrowed = {}
        if member not in self.narrowed:
            self.room.move(member, Audience.ANALYST)
        self.narrowed.setdefault(member, set()).add(participant_id)

    def tell(self, events: Iterable[Event], now_ms: int, seats: list[views.Body] | None = None) -> None:
        """Send every event in order, then the newest state once."""
        if self.room is None:
            return
        touched: frozenset[str] | None = frozenset()
        changed = False
        for event in events:
            if isinstance(event, Changed):
                changed = True
                touched = None if event.touched is None or touched is None else touched | event.touched
            elif isinstance(event, TimeWarning):
                self._tell(views.warning(self.id, event), event.participant_id)
            else:
                self._tell(views.expired(self.id, event), event.participant_id)
        if changed:
            self._tell_update(now_ms, touched, seats)

    def _tell(self, message: bytes, about: str | None) -> None:
        assert self.room is not None
        self.room.publish(message, (Audience.VIEWER,))
        for member, wanted in tuple((self.narrowed or {}).items()):
            if about is None or about in wanted:
                self.room.send(member, message)

    def _tell_update(self, now_ms: int, touched: frozenset[str] | None, seats: list[views.Body] | None) -> None:
        assert self.room is not None
        self.room.publish(views.update(self.state, now_ms, seats), (Audience.VIEWER,))
        for member, wanted in tuple((self.narrowed or {}).items()):
            if touched is None or touched & wanted:
                self.room.send(member, views.update(self.state, now_ms, seats, wanted))

    def farewell(self) -> None:
        """The session was deleted: tell every socket, and close it."""
        self.gone = True
        if self.wake is not None:
            self.wake.cancel()
            self.wake = None
        room, self.room = self.room, None
        if room is None:
            return
        message = views.deleted(self.id)
        room.publish(message, (Audience.VIEWER,))
        for member in tuple(self.narrowed or {}):
            room.send(member, message)
        room.close(1000, "Session deleted")
