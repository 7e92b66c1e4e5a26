"""Every message this kit owes the relay: in memory for a second, then on disk, deleted once acknowledged.

Messages are numbered here and may be sent as soon as they are put. When the oldest one in memory is a second old, all
that are still unacknowledged are written in one commit; those acknowledged before never wear the card. So a kill -9 can
only cost messages younger than a second *and* unacknowledged. PUBACK does not count: only the relay's own `ack` settles
a message.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import structlog

from agent.errors import OutboxDamaged, OutboxUnwritable
from agent.outbox.blocks import Dropped, Rejected, SessionMark
from agent.outbox.journal import Journal
from agent.outbox.memory import Memory, Message
from agent.outbox.ranges import Ranges
from core.contracts.scg import Envelope

log = structlog.get_logger(__name__)
_T = TypeVar("_T")
_encode = msgspec.json.Encoder().encode

COMMIT_AFTER_S = 1.0
SETTLE_AFTER_S = 5.0
"""Removing settled messages from the disk is not urgent: those left by a kill -9 are sent again, and the relay knows
them."""
MARK_EVERY_S = 60.0
"""How old the note "this session is still running" may be after a kill -9; counts towards `resume_within`."""
RETRY_S = 5.0
REPORT_EVERY_S = 60.0


class Figures(NamedTuple):
    """The outbox in figures, for status and doctor. Bytes are those in use inside the file; times in epoch ms."""

    messages: int
    bytes: int
    quota_bytes: int
    dropped: int
    dropped_from_ms: int | None
    dropped_to_ms: int | None
    damaged: int
    rejected: int


class Outbox:
    """Used from one event loop; all disk work runs in a single writer thread."""

    def __init__(self, path: Path, quota_bytes: int, boot: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.boot = boot
        self.wake = asyncio.Event()
        """Set when there is something new to send."""
        self._clock = clock
        self._quota = quota_bytes
        self._journal = Journal(path, quota_bytes)
        self._memory = Memory()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._seq = 0
        self._cursor = 0
        self._urgent = False
        self._settled_since: float | None = None
        self._mark: SessionMark | None = None
        self._others: dict[str, SessionMark] = {}
        self._mark_at = clock()
        self._retry_at = 0.0
        self._unreported = 0
        self._report_at = 0.0

    async def open(self) -> SessionMark | None:
        """Open or salvage the file; returns the session recorded last, if any.

        A disk that refuses must not leave a patient unmonitored: messages then stay in memory and opening is retried.
        Raises OutboxInUse.
        """
        try:
            await self._open_journal()
        except OutboxUnwritable as unwritable:
            log.error("outbox_unwritable", reason=str(unwritable), messages=0)
            self._retry_at = self._clock() + RETRY_S
        except BaseException:
            self._writer.shutdown(wait=False)
            raise
        self._mark = self._journal.state.session
        self._others = dict(self._journal.state.others)
        return self._mark

    @property
    def sessions(self) -> dict[str, SessionMark]:
        """Sessions that the last run left running, by the sensor that was recorded."""
        marks = {**self._others, **({"": self._mark} if self._mark is not None else {})}
        return {sensor: mark for sensor, mark in marks.items() if mark.ended_at is None}

    async def close(self) -> None:
        """Write what is unacknowledged and close the file."""
        try:
            await self.commit()
        finally:
            await self._in_writer(self._journal.close)
            self._writer.shutdown(wait=False)

    def put(self, kind: str, payload: object, session: str, now_ms: int, *, kept: bool = False) -> Message:
        """Number a message and hold it. It survives a kill -9 a second later, or as soon as `commit` returns.

        `kept` messages (start and end of a session) are committed at once and never dropped by the quota.
        """
        self._seq += 1
        raw = msgspec.Raw(_encode(payload))
        body = _encode(Envelope(type=kind, payload=raw, session=session, boot=self.boot, seq=self._seq))
        message = Message(self.boot, self._seq, session, body, now_ms, self._clock(), kept)
        self._memory.add(message)
        self._urgent = self._urgent or kept
        for mark in (self._mark, *self._others.values()):
            if mark is not None and mark.id == session and mark.ended_at is None:
                mark.seen_at = now_ms
        self._changed.set()
        self.wake.set()
        return message

    def mark(self, session: SessionMark, sensor: str = "") -> None:
        """Record the session to resume after a restart, of the first sensor or a further one; written with the next
        commit.
        """
        if sensor:
            self._others = {**self._running(), sensor: session}
        else:
            self._mark = session
        self._mark_at = self._clock()
        self._changed.set()

    def next_live(self) -> Message | None:
        """The oldest message never sent and not yet on disk; it counts as in flight from now on."""
        return self._memory.next_live()

    def next_due(self) -> Message | None:
        """The oldest loaded message that is on disk and not in flight, now in flight. None: `refill` may load more."""
        return self._memory.next_due()

    @property
    def due(self) -> int:
        """Upper bound on the messages that `next_due` can return."""
        return self._memory.due

    @property
    def has_more(self) -> bool:
        """Whether the disk may hold blocks that `refill` has not loaded yet."""
        return self._cursor < self._journal.last_id

    async def refill(self, blocks: int) -> None:
        """Load up to this many further blocks from disk, for `next_due`."""
        async with self._lock:
            after = self._cursor
            found, cursor = await self._guarded(lambda: self._journal.read(after, blocks))
            self._cursor = self._journal.last_id if cursor == after else cursor
            self._memory.load(found, self._clock())

    def grounded(self, messages: Iterable[Message]) -> None:
        """These are no longer in flight and still unacknowledged: they will be sent again as history."""
        self._memory.grounded(messages)
        self.wake.set()

    def acked(self, boot: str, ranges: Ranges) -> list[Message]:
        """Settle what the relay has committed; returns the messages among it that were known here."""
        settled = self._memory.acked(boot, ranges)
        self._touch()
        return settled

    def refused(self, boot: str, seq: int, code: str, text: str, now_ms: int) -> Message | None:
        """Set aside a message that the relay will never store; None when it is not known here."""
        if not self._memory.knows((boot, seq)):
            return None
        message = self._memory.settle((boot, seq))
        self._memory.rejected.append(Rejected(boot, seq, code[:80], text[:500], now_ms, message.body))
        self._touch()
        return message

    @property
    def figures(self) -> Figures:
        state, memory = self._journal.state, self._memory
        return Figures(
            messages=max(0, state.messages - sum(memory.settled.values()) + len(memory.fresh)),
            bytes=self._journal.used,
            quota_bytes=self._quota,
            dropped=state.dropped + memory.lost,
            dropped_from_ms=state.dropped_from,
            dropped_to_ms=state.dropped_to,
            damaged=state.damaged,
            rejected=state.rejected + len(memory.rejected),
        )

    def due_at(self) -> float | None:
        """When the next commit is due, on the outbox's clock; None while there is nothing to write."""
        due = []
        if (fresh_due := self._fresh_due()) is not None:
            due.append(fresh_due)
        if self._settled_since is not None:
            due.append(self._settled_since + SETTLE_AFTER_S)
        if self._marked:
            due.append(self._mark_at)
        return max(min(due), self._retry_at) if due else None

    async def keep(self) -> None:
        """Commit whenever something is due, forever; retries a disk that refuses."""
        while True:
            self._changed.clear()
            due = self.due_at()
            if due is None:
                await self._changed.wait()
            elif (wait := due - self._clock()) > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
            else:
                await self._try_commit()

    async def commit_due(self) -> None:
        """Commit what is due. Fresh messages stay in memory until their own time, as most will be acknowledged before
        it.
        """
        fresh_due = self._fresh_due()
        await self.commit(fresh=fresh_due is not None and fresh_due <= self._clock())

    async def commit(self, *, fresh: bool = True) -> None:
        """Write everything unacknowledged and everything settled; on disk when this returns.

        Without `fresh`, messages not written yet stay in memory. A cancelled commit still completes before the
        cancellation takes effect: the writer thread cannot be stopped, and memory must know what it wrote.
        """
        committing = asyncio.create_task(self._commit(fresh=fresh))
        try:
            await asyncio.shield(committing)
        except asyncio.CancelledError:
            while not committing.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([committing])
            raise

    async def _commit(self, *, fresh: bool) -> None:
        async with self._lock:
            if not self._journal.is_open:
                await self._open_journal()
            spilled, change = self._memory.gather(fresh=fresh)
            if change or self._mark_is_due():
                change.session, change.others = self._mark, dict(self._others)
            if not change:
                return
            settled, self._settled_since = dict(self._memory.settled), None
            self._mark_at, self._urgent = self._clock() + MARK_EVERY_S, self._urgent and not fresh
            try:
                dropped = await self._guarded(lambda: self._journal.commit(change))
            except BaseException:
                self._memory.failed(spilled)
                self._touch()
                raise
            self._memory.committed(spilled, change, settled)
            self._memory.dropped(dropped)
            self._touch()
            self._report(dropped)
            self.wake.set()

    async def _open_journal(self) -> None:
        await self._in_writer(self._journal.open)
        await self._reclaim()

    async def _reclaim(self) -> None:
        """After (re)opening, the file may be a new one: messages in memory whose blocks are missing in it become fresh
        again.
        """
        held = self._memory.held_blocks
        self._memory.reclaim(await self._in_writer(lambda: self._journal.present(held)))
        self._memory.next_block = max(self._memory.next_block, self._journal.last_id + 1)

    async def _try_commit(self) -> None:
        try:
            await self.commit_due()
        except OutboxUnwritable as unwritable:
            self._retry_at = self._clock() + RETRY_S
            log.warning("outbox_unwritable", reason=str(unwritable), messages=len(self._memory.fresh))

    def _fresh_due(self) -> float | None:
        oldest = self._memory.oldest
        return None if oldest is None else oldest.born + (0.0 if self._urgent else COMMIT_AFTER_S)

    def _mark_is_due(self) -> bool:
        return (self._mark is not None or bool(self._others)) and self._clock() >= self._mark_at

    @property
    def _marked(self) -> bool:
        """Whether a session is running, so that its mark must be refreshed regularly."""
        return any(mark is not None and mark.ended_at is None for mark in (self._mark, *self._others.values()))

    def _running(self) -> dict[str, SessionMark]:
        """Marks of running sessions only: a sensor removed for good is forgotten when its last session has ended."""
        return {name: mark for name, mark in self._others.items() if mark.ended_at is None}

    def _touch(self) -> None:
        """Something on disk was settled: remove it after SETTLE_AFTER_S, together with whatever else is written by
        then.
        """
        if self._settled_since is None and (self._memory.settled or self._memory.rejected):
            self._settled_since = self._clock()
            self._changed.set()

    def _report(self, dropped: Dropped) -> None:
        self._unreported += dropped.messages
        if self._unreported and self._clock() >= self._report_at:
            state = self._journal.state
            log.warning(
                "outbox_quota_dropped",
                messages=self._unreported,
                total=state.dropped,
                from_ms=state.dropped_from,
                to_ms=state.dropped_to,
            )
            self._unreported, self._report_at = 0, self._clock() + REPORT_EVERY_S

    async def _guarded(self, work: Callable[[], _T]) -> _T:
        """Run disk work; if the file is damaged, salvage it and run the work again."""
        try:
            return await self._in_writer(work)
        except OutboxDamaged as damage:
            why = str(damage)
        await self._in_writer(lambda: self._journal.rebuild(why))
        await self._reclaim()
        return await self._in_writer(work)

    async def _in_writer(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)
