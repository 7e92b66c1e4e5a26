"""Live sessions between relays. A relay receives a session's data only while somebody watches it there.

Plain NATS delivers at most once, in the sender's order; a missing sequence number shows a hole. The same messages reach
the database by way of the stream, so the hole is filled from there before anything later is shown: nothing is missing
and nothing is shown twice.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from core.contracts import scg
from core.contracts.errors import ContractError
from core.contracts.seq_ranges import SeqRanges
from core.contracts.topics import Lane
from relay.cluster import subjects
from relay.cluster.attendance import Attendance, tell
from relay.cluster.link import Link
from relay.errors import Full, RelayError
from relay.process.metrics import Metrics
from relay.process.tracing import Tracing
from relay.scg.live import Live
from relay.scg.store import Store

FILL_WITHIN_S = 3.0
LOOK_EVERY_S = 0.1
ANSWERS_WITHIN_S = 0.05
"""How long the first socket of a session waits to learn who is in its rooms on other relays."""
WATCH_WITHIN_S = 2.0
QUIET_S = (0.7, 2.0, 5.0)
"""After each of these silences the database is asked for what was missed, for no later message would reveal it."""
HELD = 1_000
"""Most batches that wait for a hole to be filled; with more, the hole is left open."""

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class _Watch:
    live: Live
    attendance: Attendance
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    heard: list[Subscription] = field(default_factory=list)
    stored: dict[str, SeqRanges] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    held: deque[scg.Envelope] = field(default_factory=deque)
    filling: asyncio.Task[None] | None = None
    quiet: asyncio.TimerHandle | None = None


Pending = Callable[[str], Awaitable[list[bytes]]]
Reread = Callable[[Live], Awaitable[None]]


class ClusterFeed:
    """Implements relay.scg.feeds.Feed in a cluster. `reread` reads a session's row again."""

    def __init__(
        self,
        link: Link,
        store: Store,
        metrics: Metrics,
        tracing: Tracing,
        pending: Pending,
        backlog_ms: float,
        reread: Reread,
    ) -> None:
        self._pending = pending
        self._tracing = tracing
        self._link = link
        self._store = store
        self._metrics = metrics
        self._backlog_ms = backlog_ms
        self._watches: dict[str, _Watch] = {}
        self._reread = reread
        link.on_return.append(self._returned)

    def shows(self, source: str) -> bool:
        return source != "kit"

    async def watch(self, live: Live) -> None:
        while True:
            found = self._watches.get(live.session.id)
            if found is None:
                found = self._watches[live.session.id] = _Watch(live, Attendance(self._link, live))
                try:
                    await self._begin(found)
                finally:
                    if not found.ready.is_set():
                        self.unwatch(live)
            await found.ready.wait()
            if self._watches.get(live.session.id) is found:
                return

    def unwatch(self, live: Live) -> None:
        watch = self._watches.pop(live.session.id, None)
        if watch is None:
            return
        watch.ready.set()
        self._stop_filling(watch)
        if watch.quiet is not None:
            watch.quiet.cancel()
        watch.attendance.end()
        for subscription in watch.heard:
            _later(subscription.unsubscribe())

    async def _begin(self, watch: _Watch) -> None:
        live = watch.live
        wanted: list[tuple[str, Any]] = [(subjects.live(live.session.id), self._from_relay)]
        if live.session.kit is not None:
            wanted += [
                (subjects.kit_lane(live.session.kit, Lane.LIVE), self._from_kit),
                (subjects.kit_lane(live.session.kit, Lane.STATUS), self._status),
            ]
        try:
            async with asyncio.timeout(WATCH_WITHIN_S):
                for subject, heard in wanted:
                    watch.heard.append(await self._link.hear(subject, _bound(heard, watch)))
            watch.stored = await self._store.seen(live.session.id)
            recent = await self._store.since(live.session.id, None, self._backlog_ms)
        except (NatsError, TimeoutError) as error:
            raise Full("This relay does not hear the others. Try again in a moment.") from error
        if recent is not None and live.line is None:
            live.prime(recent)
        tell(self._link, live, ask=True)
        await asyncio.sleep(ANSWERS_WITHIN_S)
        watch.ready.set()
        watch.attendance.tell_again()
        self._show_held(watch)
        self._expect_more(watch)

    # -- batches ---------------------------------------------------------------------------------------------------

    def share(self, live: Live, envelope: scg.Envelope) -> None:
        self._link.say(subjects.live(live.session.id, "batch"), msgspec.json.encode(envelope))

    async def _from_kit(self, watch: _Watch, message: Msg) -> None:
        envelope = _decoded(message.data)
        if envelope is None or envelope.number is None:
            return
        if envelope.session == watch.live.session.id:
            watch.attendance.kit_measures()
        self._take(watch, envelope)

    async def _from_relay(self, watch: _Watch, message: Msg) -> None:
        what = message.subject.rsplit(".", 1)[1]
        if what == "batch":
            envelope = _decoded(message.data)
            if envelope is not None and envelope.number is not None:
                self._take(watch, envelope)
        elif what == "presence":
            watch.attendance.heard(message.data)
        elif what == "changed":
            await self._reread(watch.live)

    def _take(self, watch: _Watch, envelope: scg.Envelope) -> None:
        watch.held.append(envelope)
        self._expect_more(watch)
        if len(watch.held) > HELD:
            self._stop_filling(watch)
            self._show_held(watch, whatever=True)
        elif watch.filling is None and watch.ready.is_set():
            self._show_held(watch)

    def _stop_filling(self, watch: _Watch) -> None:
        if watch.filling is not None:
            watch.filling.cancel()
            watch.filling = None

    def _follows(self, watch: _Watch, envelope: scg.Envelope) -> bool:
        """Whether all messages before this one are here already."""
        assert envelope.number is not None
        boot, seq = envelope.number
        stored = watch.stored.get(boot, SeqRanges())
        return all(one in stored for one in range(watch.newest.get(boot, max(seq - 2, 0)) + 1, seq))

    def _show(self, watch: _Watch, envelope: scg.Envelope) -> None:
        """Show a batch in its turn, unless it was shown or stored before."""
        assert envelope.number is not None
        boot, seq = envelope.number
        if seq <= watch.newest.get(boot, 0):
            return
        watch.newest[boot] = seq
        known = boot in watch.stored and seq in watch.stored[boot]
        if known or envelope.type != "samples_batch" or envelope.session != watch.live.session.id:
            return
        try:
            batch = scg.decode_payload(envelope.payload, scg.SamplesBatch)
            columns, heard_ns = scg.columns(batch), time.time_ns()
            watch.live.show(columns, batch.clock.error_ms if batch.clock else None)
            self._tracing.span(
                "shown", watch.live.session.id, envelope.number, heard_ns, viewers=len(watch.live.room.members)
            )
        except ContractError:
            return

    def _expect_more(self, watch: _Watch, number: int = 0) -> None:
        if watch.quiet is not None:
            watch.quiet.cancel()
        watch.quiet = asyncio.get_running_loop().call_later(QUIET_S[number], self._ask, watch, number)

    def _ask(self, watch: _Watch, number: int) -> None:
        watch.quiet = None
        if watch.filling is None:
            watch.filling = asyncio.create_task(self._catch_up(watch))
        if number + 1 < len(QUIET_S):
            self._expect_more(watch, number + 1)

    async def _catch_up(self, watch: _Watch) -> None:
        await self._show_missed(watch)
        watch.filling = None
        self._show_held(watch)

    async def _fill(self, watch: _Watch) -> None:
        """Fill a hole: show what the database has of it, then what waited. After FILL_WITHIN_S, go on without."""
        first = watch.held[0]
        deadline = asyncio.get_running_loop().time() + FILL_WITHIN_S
        whole = False
        while not whole and asyncio.get_running_loop().time() < deadline:
            await self._show_missed(watch)
            await self._hold_pending(watch)
            whole = watch.held[0] is not first or self._follows(watch, first)
            if not whole:
                await asyncio.sleep(LOOK_EVERY_S)
        watch.filling = None
        self._show_held(watch, whatever=not whole)

    async def _hold_pending(self, watch: _Watch) -> None:
        """Add the kit's messages still in the stream: a relay that went away had taken them, the next one not yet."""
        kit = watch.live.session.kit
        if kit is None:
            return
        known = {envelope.number for envelope in watch.held}
        for data in await self._pending(subjects.kit_lane(kit, Lane.LIVE)):
            found = _decoded(data)
            if found is not None and found.number is not None and found.number not in known:
                boot, seq = found.number
                if seq > watch.newest.get(boot, 0) and seq not in watch.stored.get(boot, ()):
                    watch.held.append(found)
        boots = list(dict.fromkeys(envelope.boot for envelope in watch.held))
        watch.held = deque(sorted(watch.held, key=lambda one: (boots.index(one.boot), one.seq or 0)))

    async def _show_missed(self, watch: _Watch) -> None:
        """Show what the database has beyond what was shown here."""
        live = watch.live
        try:
            stored = await self._store.seen(live.session.id)
            missed = await self._store.since(live.session.id, live.newest_t, self._backlog_ms)
        except RelayError as error:
            log.warning("line_not_refilled", error=str(error))
            return
        watch.stored = stored
        if missed is not None:
            self._metrics.refilled.inc()
            live.show(missed, None)

    def _show_held(self, watch: _Watch, *, whatever: bool = False) -> None:
        """Show what waited, in order; with `whatever`, the hole before the first of it is left open."""
        while watch.held:
            if not whatever and not self._follows(watch, watch.held[0]):
                watch.filling = asyncio.create_task(self._fill(watch))
                return
            whatever = False
            self._show(watch, watch.held.popleft())

    def _returned(self) -> None:
        """The connection is back: ask for the rooms again. Missed batches are noticed by their numbers."""
        for watch in self._watches.values():
            tell(self._link, watch.live, ask=True)

    # -- presence, and changes of the session's row -----------------------------------------------------------------

    def present(self, live: Live) -> None:
        tell(self._link, live)

    def changed(self, live: Live) -> None:
        self._link.say(subjects.live(live.session.id, "changed"), b"")

    def gone(self, relay: str) -> None:
        for watch in self._watches.values():
            watch.attendance.gone(relay)

    async def _status(self, watch: _Watch, message: Msg) -> None:
        envelope = _decoded(message.data)
        if envelope is None:
            return
        try:
            state = scg.decode_payload(envelope.payload, dict[str, Any]).get("state")
        except ContractError:
            return
        if state != "online":
            watch.attendance.kit_silent()


def _bound(heard: Callable[[_Watch, Msg], Awaitable[None]], watch: _Watch) -> Callable[[Msg], Awaitable[None]]:
    async def take(message: Msg) -> None:
        await heard(watch, message)

    return take


def _decoded(data: bytes) -> scg.Envelope | None:
    try:
        return scg.decode_envelope(data)
    except ContractError:
        return None


_tasks: set[asyncio.Task[None]] = set()


def _later(unsubscribing: Any) -> None:
    task = asyncio.ensure_future(unsubscribing)
    _tasks.add(task)
    task.add_done_callback(_done)


def _done(task: asyncio.Task[None]) -> None:
    _tasks.discard(task)
    if not task.cancelled():
        task.exception()
