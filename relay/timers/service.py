"""Timer sessions: what a request does, what happens by itself, who is told, and what survives a restart.

Knows neither HTTP nor SQL. A change is made in memory without awaiting, so of two concurrent switches exactly one wins;
then it is sent to the room and handed to the store. The clock is read once per request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import structlog

from core.contracts import timers
from core.contracts.errors import InvalidMessage
from core.contracts.timers import AddParticipant, CreateSession, Switch, UpdateTime
from relay.clock import Timescale
from relay.errors import Conflict, Full, NotAllowed, ParticipantNotFound, SessionNotFound, TooMany
from relay.process.metrics import Metrics
from relay.rooms import Member, Room
from relay.timers import expiry, rules, views
from relay.timers.conversation import answer_to
from relay.timers.live import Live
from relay.timers.plans import begin, newcomer
from relay.timers.states import (
    CONFLICT,
    INVALID,
    Changed,
    Event,
    Refused,
    State,
    Status,
    Step,
    TimeExpired,
    left_ms,
    position,
)
from relay.timers.store import Adjustment, Store

FORGET_AFTER_MS = 600_000
SWEEP_EVERY_S = 30.0
RING_FRAMES, RING_MS = 64, 10_000.0

Answer = TypeVar("Answer")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sessions in memory, sockets, switches per second and session, and whether an answer waits for the commit."""

    sessions: int
    sockets: int
    switches_per_s: int
    write_through: bool = False


class TimersService:
    """The document's use cases. All but `create`, `find`, `delete` and `durable` are complete when they return."""

    def __init__(self, store: Store, timescale: Timescale, metrics: Metrics, bounds: Bounds) -> None:
        self._store = store
        self._timescale = timescale
        self._metrics = metrics
        self._bounds = bounds
        self._live: dict[str, Live] = {}
        self._sockets = 0

    def now_ms(self) -> int:
        return self._timescale.now_ms()

    # -- sessions ------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """After a restart: load all running sessions, and apply what was due meanwhile."""
        for state in await self._store.running():
            live = self._hold(state)
            self._settle(live, self.now_ms())
            self._arm(live)
        log.info("timers_loaded", sessions=len(self._live))

    async def create(self, request: CreateSession) -> dict[str, Any]:
        """A new pending session, committed before this returns. Conflict when the id is taken."""
        session_id = timers.check(request).session_id
        known = session_id in self._live or await self._store.find(session_id) is not None
        if known or session_id in self._live:
            raise Conflict(f"There is a session {session_id!r} already. Choose another id, or delete that one.")
        now_ms = self.now_ms()
        live = self._hold(begin(request, now_ms))
        self._store.put(live.state)
        await self._store.committed()
        return views.created(live.state, now_ms)

    def known(self, session_id: str) -> Live | None:
        """The session if it is in memory, as every running one is; else None."""
        return self._live.get(session_id)

    async def find(self, session_id: str) -> Live:
        """The session, loaded from the store if necessary. Raises SessionNotFound."""
        found = self._live.get(session_id)
        if found is None:
            state = await self._store.find(session_id)
            found = self._live.get(session_id)
            if found is None and state is not None:
                found = self._hold(state)
        if found is None or found.gone:
            raise SessionNotFound(f"There is no session {session_id[:128]!r}.")
        return found

    async def recent(self, limit: int) -> list[dict[str, Any]]:
        """The sessions changed last, as the document shows them."""
        now_ms = self.now_ms()
        states = await self._store.recent(limit)
        held = [live.state if (live := self._live.get(state.plan.session_id)) else state for state in states]
        return [views.whole(expiry.settle(state, now_ms).state, now_ms) for state in held]

    def view(self, live: Live) -> dict[str, Any]:
        return views.whole(*self._current(live))

    def start(self, live: Live, expected: int | None) -> dict[str, Any]:
        return views.began(*self._do(live, expected, rules.start))

    def pause(self, live: Live, expected: int | None) -> dict[str, Any]:
        return views.ended(*self._do(live, expected, rules.pause))

    def resume(self, live: Live, expected: int | None) -> dict[str, Any]:
        return views.began(*self._do(live, expected, rules.resume))

    def complete(self, live: Live, expected: int | None) -> dict[str, Any]:
        return views.ended(*self._do(live, expected, rules.complete))

    def switch(self, live: Live, command: Switch) -> dict[str, Any]:
        """The next turn.

        If time has just run out for the player who switches, the answer says so, as in the document.
        """
        state, now_ms = self._current(live)
        if not live.may_switch(now_ms, most := self._bounds.switches_per_s):
            raise TooMany(f"At most {most} switches a second in one session. Try again in a second.", 1)
        if state.status is Status.EXPIRED and command.current_participant_id in (None, state.expired_by):
            self._asking(lambda: rules.expect(state, command.expected_version))
            return views.switched(state, now_ms)
        seats = self._switch(live, command, now_ms)
        self._metrics.timer_switches.inc()
        return views.switched(live.state, now_ms, seats)

    def add(self, live: Live, request: AddParticipant) -> dict[str, Any]:
        def joined(state: State, now_ms: int) -> Step:
            return rules.add(state, newcomer(request, state), request.total_time_ms, now_ms)

        return views.whole(*self._do(live, request.expected_version, joined))

    def update_time(self, live: Live, participant_id: str, request: UpdateTime, who: str) -> dict[str, Any]:
        """Set a participant's time by hand; who, what and why are written to the audit with it."""
        before, now_ms = self._current(live)
        index = position(before, participant_id)

        def adjusted(state: State, now_ms: int) -> Step:
            return rules.update_time(state, participant_id, request.total_time_ms, now_ms)

        state, now_ms = self._do(live, request.expected_version, adjusted)
        was_ms = left_ms(before, before.players[index].clock, now_ms)
        self._store.note(
            Adjustment(live.id, now_ms, who, participant_id, was_ms, request.total_time_ms, request.reason)
        )
        return views.whole(state, now_ms)

    async def audit(self, live: Live) -> list[Adjustment]:
        await self._store.committed()
        return await self._store.adjustments(live.id)

    async def delete(self, live: Live) -> None:
        """Delete the session for everybody; committed before this returns."""
        live.farewell()
        self._live.pop(live.id, None)
        self._metrics.timer_sessions.set(len(self._live))
        self._store.remove(live.id)
        await self._store.committed()

    async def change(self, live: Live, do: Callable[[Live], Answer]) -> Answer:
        """Make a change, and answer when it is as durable as the settings ask."""
        answer = do(live)
        await self.durable()
        return answer

    async def look(self, live: Live) -> dict[str, Any]:
        return self.view(live)

    async def drained(self) -> None:
        await self._store.drained()

    async def durable(self) -> None:
        """With write_through, wait for the commit."""
        if self._bounds.write_through:
            await self._store.committed()

    # -- one change ----------------------------------------------------------------------------------------------

    def _current(self, live: Live) -> tuple[State, int]:
        """The state as of now, with everything due applied, and the time."""
        now_ms = self.now_ms()
        live.touched_ms = now_ms
        self._settle(live, now_ms)
        return live.state, now_ms

    def _do(self, live: Live, expected: int | None, rule: Callable[[State, int], Step]) -> tuple[State, int]:
        state, now_ms = self._current(live)
        self._asking(lambda: rules.expect(state, expected))
        self._take(live, self._asking(lambda: rule(state, now_ms)), now_ms)
        return live.state, now_ms

    def _switch(self, live: Live, command: Switch, now_ms: int) -> list[views.Body]:
        state = live.state
        self._asking(lambda: rules.expect(state, command.expected_version))
        return self._take(live, self._asking(lambda: rules.switch(state, command, now_ms)), now_ms)

    def _take(self, live: Live, step: Step, now_ms: int) -> list[views.Body]:
        """Make a step the current state: send it, store it and schedule what comes next. Returns the seats it sent."""
        live.state = step.state
        events = step.events + live.settle(now_ms)
        self._count(events, now_ms)
        seats = views.participants(live.state, now_ms)
        live.tell(events, now_ms, seats)
        self._store.put(live.state)
        self._arm(live)
        return seats

    def _settle(self, live: Live, now_ms: int) -> None:
        before = live.state
        events = live.settle(now_ms)
        if live.state is not before:
            self._count(events, now_ms)
            live.tell(events, now_ms)
            self._store.put(live.state)

    def _wake(self, live: Live) -> None:
        live.wake = None
        if not live.gone:
            self._settle(live, self.now_ms())
            self._arm(live)

    def _arm(self, live: Live) -> None:
        live.arm(self._timescale, partial(self._wake, live))

    def _count(self, events: tuple[Event, ...], now_ms: int) -> None:
        for event in events:
            if not isinstance(event, Changed):
                self._metrics.timer_late_seconds.observe((now_ms - event.at_ms) / 1000)
                if isinstance(event, TimeExpired):
                    self._metrics.timer_expired.inc()

    def _asking(self, rule: Callable[[], Any]) -> Any:
        """The result of a rule; its refusal is raised as an error of the relay."""
        try:
            return rule()
        except Refused as refused:
            raise _error(refused) from None

    # -- memory --------------------------------------------------------------------------------------------------

    def _hold(self, state: State) -> Live:
        if len(self._live) >= self._bounds.sessions and not self.forget_idle(after_ms=0):
            raise Full("This relay holds as many timer sessions as it may. Try again later.")
        live = self._live[state.plan.session_id] = Live(state, self.now_ms())
        self._metrics.timer_sessions.set(len(self._live))
        return live

    def forget_idle(self, after_ms: int = FORGET_AFTER_MS) -> int:
        """Drop from memory the sessions that do not run and that nobody uses; the store has them."""
        horizon = self.now_ms() - after_ms
        idle = [
            key
            for key, live in self._live.items()
            if live.room is None and live.touched_ms <= horizon and live.state.status is not Status.RUNNING
        ]
        for key in idle:
            del self._live[key]
        self._metrics.timer_sessions.set(len(self._live))
        return len(idle)

    async def forget_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            self.forget_idle()

    # -- sockets -------------------------------------------------------------------------------------------------

    def check_room(self) -> None:
        """Raises Full when no further socket is allowed."""
        if self._sockets >= self._bounds.sockets:
            raise Full("This relay holds as many timer sockets as it may. Try again in a moment.")

    def enter(self, live: Live, member: Member) -> None:
        live.join(member, self._room)
        self._sockets += 1
        self._metrics.sockets.inc()

    def leave(self, live: Live, member: Member) -> None:
        live.leave(member)
        self._sockets -= 1
        self._metrics.sockets.dec()

    def message(self, live: Live, member: Member, data: str | bytes) -> None:
        """Handle a socket's message; the answer goes to it alone.

        An invalid message is answered, and changes nothing.
        """
        if live.room is None:
            return
        answer = answer_to(data, live, member, self.now_ms, lambda: self._current(live))
        if live.room is not None:
            live.room.send(member, answer)

    def _room(self) -> Room:
        return Room(
            lambda: float(self.now_ms()),
            size=RING_FRAMES,
            keep_ms=RING_MS,
            on_drop=self._metrics.frames_dropped.inc,
        )


def _error(refused: Refused) -> Exception:
    kinds: dict[str, type[Exception]] = {
        INVALID: InvalidMessage,
        CONFLICT: Conflict,
        "PARTICIPANT_NOT_FOUND": ParticipantNotFound,
    }
    return kinds.get(refused.kind, NotAllowed)(str(refused))
