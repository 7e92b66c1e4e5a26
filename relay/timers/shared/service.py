"""The timers' use cases on several relays. The database row is authoritative, and every answer reads it first.

A change is made on a draft of the row and written only if nobody was faster; then everybody is told, once per revision.
What happens by itself is scheduled on every relay that holds the session, a little later on each, and done by one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakValueDictionary

import msgspec
import structlog

from core.contracts import timers
from core.contracts.errors import ContractError
from core.contracts.timers import CreateSession
from relay.clock import Timescale
from relay.errors import Conflict, RelayError, SessionNotFound
from relay.process.metrics import Metrics
from relay.rooms import Member
from relay.timers import expiry, views
from relay.timers.live import Live
from relay.timers.plans import begin
from relay.timers.service import Answer, Bounds, TimersService
from relay.timers.shared.store import Held, SharedStore
from relay.timers.states import Changed, Event, State, Status, TimeExpired, TimeWarning

TRIES = 50
NEXT_IN_LINE_MS = 250
"""How long the second relay waits for the first to do what is due, and the third for the second."""
LOOK_EVERY_S = 0.5
AHEAD_MS = 1_500
"""Sessions due within this time are in memory. They are found by polling, so a lost message does no harm."""
AT_ONCE = 2_000
COMPARE_EVERY = 4
RETRY_MS = 250

log = structlog.get_logger(__name__)


class Peers(Protocol):
    """The other relays. `tell` delivers at most once; `listen` returns the function that ends it."""

    def rank(self, session_id: str) -> int: ...
    def tell(self, session_id: str, message: bytes) -> None: ...
    async def listen(self, session_id: str, heard: Callable[[bytes], None]) -> Callable[[], None]: ...


class News(msgspec.Struct):
    """A session's new revision, sent to the relays that show it. Without a state, the session was deleted."""

    revision: int
    at_ms: int
    state: State | None = None
    expired: list[TimeExpired] = []
    warnings: list[TimeWarning] = []


_news = msgspec.json.Decoder(News).decode
_encode = msgspec.json.Encoder().encode


@dataclass(eq=False, slots=True)
class Draft(Live):
    """A session as one request would leave it: nobody is told, and nothing is scheduled, before it is written."""

    events: list[Event] = field(default_factory=list)

    def tell(self, events: Iterable[Event], now_ms: int, seats: list[views.Body] | None = None) -> None:
        self.events.extend(events)

    def arm(self, timescale: Timescale, callback: Callable[[], None], *, later_ms: int = 0) -> None:
        return


class SharedTimers(TimersService):
    """The base class's use cases, each done on a draft and written by compare-and-swap."""

    def __init__(
        self, store: SharedStore, timescale: Timescale, metrics: Metrics, bounds: Bounds, peers: Peers
    ) -> None:
        super().__init__(store, timescale, metrics, bounds)
        self._rows = store
        self._peers = peers
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._ears: dict[str, Callable[[], None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # -- sessions ------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Loads nothing: running sessions are found when they are due."""

    async def create(self, request: CreateSession) -> dict[str, Any]:
        timers.check(request)
        now_ms = self.now_ms()
        state = begin(request, now_ms)
        revision = await self._rows.insert(state)
        self._live.pop(state.plan.session_id, None)
        self._hold(state).revision = revision
        return views.created(state, now_ms)

    async def find(self, session_id: str) -> Live:
        held = await self._rows.read(session_id)
        if held is None:
            self._forget(session_id)
            raise SessionNotFound(f"There is no session {session_id[:128]!r}.")
        return self._adopt(held)

    async def recent(self, limit: int) -> list[dict[str, Any]]:
        now_ms = self.now_ms()
        return [views.whole(expiry.settle(state, now_ms).state, now_ms) for state in await self._rows.recent(limit)]

    async def look(self, live: Live) -> dict[str, Any]:
        return await self.change(live, self.view)

    async def delete(self, live: Live) -> None:
        if not await self._rows.erase(live.id):
            raise SessionNotFound(f"There is no session {live.id[:128]!r}.")
        self._peers.tell(live.id, _encode(News(revision=0, at_ms=self.now_ms())))
        self._forget(live.id)

    # -- one change ----------------------------------------------------------------------------------------------

    async def change(self, live: Live, do: Callable[[Live], Answer]) -> Answer:
        """Do it on a draft of the row; when another relay was faster, again on the new row, until it is written.

        Raises StoreUnavailable when the database does not answer; the change may or may not have been made.
        """
        turn = self._turns.setdefault(live.id, asyncio.Lock())
        async with turn:
            for _ in range(TRIES):
                held = await self._rows.read(live.id)
                if held is None:
                    self._forget(live.id)
                    raise SessionNotFound(f"There is no session {live.id[:128]!r}.")
                current = self._adopt(held)
                draft = Draft(held.state, self.now_ms(), switches=copy(current.switches), revision=held.revision)
                answer = do(draft)
                notes = self._rows.notes()
                changes = draft.state is not held.state or bool(notes)
                if changes and not await self._rows.swap(draft.state, held.revision, notes):
                    continue
                current.switches, current.touched_ms = draft.switches, draft.touched_ms
                if changes:
                    self._written(current, draft)
                return answer
        raise Conflict("Too many changes at once. Try again.")

    def _written(self, live: Live, draft: Draft) -> None:
        """Tell the sockets here, unless they heard it when the row was read, and tell the other relays."""
        now_ms, revision = self.now_ms(), draft.revision + 1
        if live.revision < revision:
            live.state, live.revision = draft.state, revision
            live.tell(draft.events, now_ms)
        self._peers.tell(draft.id, _encode(_as_news(draft.state, revision, draft.events, now_ms)))
        self._arm(live)

    def _settle(self, live: Live, now_ms: int) -> None:
        """What is due is applied to drafts only; a copy in memory changes only when its row does."""
        if isinstance(live, Draft):
            super()._settle(live, now_ms)

    def _adopt(self, held: Held) -> Live:
        """Take over the row's state; sockets here are told what they have not heard yet."""
        live = self._live.get(held.state.plan.session_id)
        if live is None:
            live = self._hold(held.state)
            live.revision = held.revision
            self._arm(live)
        elif live.revision < held.revision or live.state.plan.created_ms != held.state.plan.created_ms:
            before, live.state, live.revision = live.state, held.state, held.revision
            live.tell(_between(before, held.state), self.now_ms())
            self._arm(live)
        return live

    # -- what happens by itself ------------------------------------------------------------------------------------

    def _arm(self, live: Live) -> None:
        live.arm(self._timescale, lambda: self._wake(live), later_ms=NEXT_IN_LINE_MS * self._peers.rank(live.id))

    def _wake(self, live: Live) -> None:
        live.wake = None
        if not live.gone:
            self._soon(self._due(live))

    async def _due(self, live: Live) -> None:
        try:
            await self.change(live, self._current)
        except SessionNotFound:
            return
        except RelayError as error:
            log.warning("timer_waits_for_database", error=error.code)
            self._timescale.call_at(self.now_ms() + RETRY_MS, lambda: self._wake(live))
            return
        self._arm(live)

    async def look_for_ever(self) -> None:
        """Find the sessions due soon, whoever wrote them, and changes to sessions shown here that were missed."""
        number = 0
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            number += 1
            try:
                for held in await self._rows.due_before(self.now_ms() + AHEAD_MS, AT_ONCE):
                    self._arm(self._adopt(held))
                if number % COMPARE_EVERY == 0:
                    await self._compare()
            except RelayError as error:
                log.warning("timers_not_seen", error=error.code)

    async def _compare(self) -> None:
        shown = {key: live for key, live in self._live.items() if live.room is not None}
        if not shown:
            return
        found = await self._rows.revisions(list(shown))
        for key, live in shown.items():
            if found.get(key, -1) != live.revision:
                await self._refresh(key)

    async def _refresh(self, session_id: str) -> None:
        try:
            await self.find(session_id)
        except RelayError as error:
            log.debug("timer_not_refreshed", error=error.code)

    # -- other relays ------------------------------------------------------------------------------------------------

    def enter(self, live: Live, member: Member) -> None:
        super().enter(live, member)
        if live.id not in self._ears:
            self._ears[live.id] = _nothing
            self._soon(self._listen(live.id))

    def leave(self, live: Live, member: Member) -> None:
        super().leave(live, member)
        if live.room is None:
            self._ears.pop(live.id, _nothing)()

    async def _listen(self, session_id: str) -> None:
        stop = await self._peers.listen(session_id, lambda data: self._heard(session_id, data))
        if session_id in self._ears:
            self._ears[session_id] = stop
            await self._refresh(session_id)
        else:
            stop()

    def _heard(self, session_id: str, data: bytes) -> None:
        live, news = self._live.get(session_id), _news(data)
        if live is None:
            return
        if news.state is None:
            self._forget(session_id)
        elif news.revision == live.revision + 1:
            before, live.state, live.revision = live.state, news.state, news.revision
            live.tell(_events(news, changed=before.version != news.state.version), self.now_ms())
            self._arm(live)
        elif news.revision > live.revision:
            self._soon(self._refresh(session_id))

    def message(self, live: Live, member: Member, data: str | bytes) -> None:
        """Answer a socket's question about the state from the row."""
        self._soon(self._answered(live, member, data, super().message))

    async def _answered(
        self, live: Live, member: Member, data: str | bytes, say: Callable[[Live, Member, str | bytes], None]
    ) -> None:
        with contextlib.suppress(ContractError):
            if timers.hear(data).type != "PING":
                await self._refresh(live.id)
        say(live, member, data)

    def _forget(self, session_id: str) -> None:
        live = self._live.pop(session_id, None)
        self._ears.pop(session_id, _nothing)()
        if live is not None:
            live.farewell()

    def _soon(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _between(before: State, after: State) -> tuple[Event, ...]:
    """The events of a change that nobody announced here: the new state, and the expiry if there was one."""
    if before is after:
        return ()
    expired = after.status is Status.EXPIRED and before.status is not Status.EXPIRED and after.expired_ms is not None
    ends = (TimeExpired(after.expired_by, after.applied or {}, after.expired_ms or 0),) if expired else ()
    return (*ends, Changed(None)) if before.version != after.version else ends


def _as_news(state: State, revision: int, events: list[Event], now_ms: int) -> News:
    return News(
        revision=revision,
        at_ms=now_ms,
        state=state,
        expired=[event for event in events if isinstance(event, TimeExpired)],
        warnings=[event for event in events if isinstance(event, TimeWarning)],
    )


def _events(news: News, *, changed: bool) -> list[Event]:
    """The events in the order of their times, the new state last."""
    told: list[TimeExpired | TimeWarning] = [*news.expired, *news.warnings]
    return [*sorted(told, key=lambda event: event.at_ms), *((Changed(None),) if changed else ())]


def _nothing() -> None:
    """Placeholder until a socket's subscription has begun."""
