"""The outbox on disk. Each change is one transaction, and is on disk when the call returns.

Parts that cannot be read are set aside, counted and reported, and never block the rest. Nothing is dropped below the
quota; above it, the oldest is dropped first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import structlog

from agent.errors import OutboxDamaged, OutboxUnwritable
from agent.outbox import salvage
from agent.outbox.blocks import (
    CARRY,
    INSERT,
    PAGE_BYTES,
    SELECT,
    Block,
    Change,
    Dropped,
    Rejected,
    State,
    row,
    seal,
    spelled,
    state_row,
    unrow,
    unspelled,
    unstate,
)
from agent.outbox.database import Database

log = structlog.get_logger(__name__)

CHECKED_AT_OPEN_BYTES = 64 << 20
"""Up to this size the whole file is checked at each start; a larger one is checked block by block as it is read."""
SHRINK_FREE_BYTES = 64 << 20
"""Unused space in the file, left after a long outage, is returned to the system at the next start from this size on."""
CARRIED_AT_ONCE = 500
MAX_REJECTED = 1000
"""Refused messages kept for inspection; a bound, so that they cannot fill the card."""
ROW_OVERHEAD_BYTES = 256


class Journal:
    """All methods run in the outbox's single writer thread and raise OutboxUnwritable or OutboxDamaged."""

    def __init__(self, path: Path, quota_bytes: int) -> None:
        self.path = path
        self.state = State()
        self.last_id = 0
        self.used = 0
        """Bytes in use inside the file as of the last commit; this is what the quota limits."""
        self._quota = quota_bytes
        self._db = Database(path)

    def open(self) -> None:
        """Make the file ready for commits whatever its state: a torn tail is cut off, a damaged file salvaged.

        Closed on failure.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            unfinished = salvage.unfinished(self.path)
            self.path.touch(mode=0o600)
        except OSError as error:
            raise self._unwritable(error) from None
        with self._closed_if_it_fails():
            self._recover(unfinished)

    def _recover(self, unfinished: list[Path]) -> None:
        left_over = salvage.wal_size(self.path)
        try:
            self._connect()
            if unfinished:
                self._take_over(unfinished)
            with suppress(OutboxUnwritable):  # a full card can be read, and what was read delivered
                self._report_recovery(left_over)
            self._check()
        except OutboxDamaged as damage:
            self.rebuild(str(damage))
        with suppress(OutboxUnwritable):
            self._shrink()
        self.used = self._db.used_bytes()

    @property
    def is_open(self) -> bool:
        return self._db.is_open

    def close(self) -> None:
        self._db.close()

    def commit(self, change: Change) -> Dropped:
        """Write one change completely or not at all; on disk when this returns. Returns what the quota dropped."""
        state = msgspec.structs.replace(self.state)
        incoming = [row(block) for block in change.add]
        with self._db.transaction() as db:
            settled = sum(_remove(db, block_id) for block_id in change.remove)
            settled += sum(_narrow(db, block_id, left) for block_id, left in change.narrow.items())
            _set_aside(db, change.reject)
            dropped = self._make_room(db, sum(len(new[-1]) + ROW_OVERHEAD_BYTES for new in incoming))
            db.executemany(INSERT, incoming)
            _account(state, change, settled, dropped)
            db.execute("UPDATE state SET body = ? WHERE id = 1", (state_row(state),))
            self.used = self._db.used_bytes()
        self.state = state
        self.last_id = max([self.last_id, *(block.id for block in change.add)])
        return dropped

    def read(self, after: int, limit: int) -> tuple[list[Block], int]:
        """Up to `limit` blocks with ids above `after`, oldest first, and the id to continue from.

        An unreadable block is removed, counted and reported; the others are returned.
        """
        with self._db.guarded() as db:
            found = db.execute(SELECT + " WHERE id > ? ORDER BY id LIMIT ?", (after, limit)).fetchall()
        blocks, broken = [], []
        for candidate in found:
            try:
                blocks.append(unrow(candidate))
            except OutboxDamaged:
                broken.append(candidate[0])
        if broken:
            self._discard(broken)
        return blocks, found[-1][0] if found else after

    def rebuild(self, why: str) -> None:
        """Set the file aside, start a new one and carry over everything readable.

        On OutboxUnwritable the journal is left closed; what was not yet carried over follows when it is opened again.
        """
        known, last_id = self.state, self.last_id
        self.close()
        with self._closed_if_it_fails():
            moved = salvage.set_aside(self.path)
            log.error("outbox_damaged", reason=why, moved_to=moved.name)
            self._connect()
            self._take_over(salvage.unfinished(self.path), known)
            self.last_id = max(self.last_id, last_id)

    def present(self, block_ids: list[int]) -> set[int]:
        """Which of these blocks are on disk."""
        with self._db.guarded() as db:
            query = "SELECT 1 FROM block WHERE id = ?"
            return {block_id for block_id in block_ids if db.execute(query, (block_id,)).fetchone()}

    def _take_over(self, unfinished: list[Path], known: State | None = None) -> None:
        """Carry over everything readable from the files set aside; if interrupted, repeated from the start.

        The state is copied first, so that the original number of messages is known even then.
        """
        unreadable = 0
        for one in unfinished:
            with closing(salvage.Remains(one)) as remains:
                if self.state == State():
                    self._write_state(unstate(remains.state()) or known or self.state)
                unreadable += self._carry_over(remains)
        with self._db.guarded() as db:
            there = self._count(db)
        lost = max(0, self.state.messages - there)
        self._write_state(msgspec.structs.replace(self.state, messages=there, damaged=self.state.damaged + lost))
        for one in unfinished:
            salvage.retire(self.path, one)
        self.last_id = self._newest_id()
        log.error("outbox_salvaged", messages=there, messages_lost=lost, blocks_unreadable=unreadable)

    def _carry_over(self, remains: salvage.Remains) -> int:
        """Carry over a few hundred rows per transaction; returns how many rows were damaged."""
        unreadable = 0
        rows = remains.blocks()
        while part := list(islice(rows, CARRIED_AT_ONCE)):
            sound = [found for found in part if _is_sound(found)]
            unreadable += len(part) - len(sound)
            with self._db.transaction() as db:
                db.executemany(CARRY, sound)
        with self._db.transaction() as db:
            db.executemany("INSERT OR IGNORE INTO rejected VALUES (?,?,?,?,?,?,?)", remains.rejected())
        return unreadable

    def _write_state(self, state: State) -> None:
        with self._db.transaction() as db:
            db.execute("UPDATE state SET body = ? WHERE id = 1", (state_row(state),))
        self.state = state

    @contextmanager
    def _closed_if_it_fails(self) -> Iterator[None]:
        """Close on failure: writing to a half-opened journal could overwrite what has not been read yet."""
        try:
            yield
        except OSError as error:
            self.close()
            raise self._unwritable(error) from None
        except BaseException:
            self.close()
            raise

    def _unwritable(self, error: OSError) -> OutboxUnwritable:
        return OutboxUnwritable(f"{self.path} cannot be written: {error.strerror}", path=str(self.path))

    def _connect(self) -> None:
        self.state = self._db.open()
        self.last_id = self._newest_id()

    def _report_recovery(self, left_over: int) -> None:
        """A WAL found at the start means an unclean stop: report how much of it was recovered and how much was not."""
        if not left_over:
            return
        with self._db.guarded() as db:
            frames = max(0, db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        log.warning(
            "outbox_recovered_after_unclean_stop",
            frames_kept=frames,
            tail_bytes_ignored=max(0, left_over - salvage.wal_length(frames)),
            messages=self.state.messages,
        )

    def _check(self) -> None:
        if self._db.pragma("page_count") * PAGE_BYTES > CHECKED_AT_OPEN_BYTES:
            return
        with self._db.guarded() as db:
            verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise OutboxDamaged(verdict)
            there = self._count(db)
        if there != self.state.messages:
            raise OutboxDamaged(f"{self.state.messages} messages were written and {there} are there")

    def _shrink(self) -> None:
        free = self._db.pragma("freelist_count") * PAGE_BYTES
        if free > SHRINK_FREE_BYTES and free > 4 * self._db.used_bytes():
            with self._db.guarded() as db:
                db.execute("VACUUM")
            log.info("outbox_shrunk", bytes_given_back=free)

    def _make_room(self, db: sqlite3.Connection, incoming: int) -> Dropped:
        """Drop the oldest blocks until the incoming bytes fit below the quota."""
        dropped = Dropped()
        query = "SELECT id, enqueued_at, unacked FROM block WHERE kept = 0 ORDER BY id LIMIT 16"
        while self._db.used_bytes() + incoming > self._quota and (oldest := db.execute(query).fetchall()):
            for block_id, enqueued_ms, unacked in oldest:
                db.execute("DELETE FROM block WHERE id = ?", (block_id,))
                dropped.add(block_id, enqueued_ms, _length(unacked))
        return dropped

    def _discard(self, broken: list[int]) -> None:
        """Remove unreadable blocks. The messages they held are counted by comparing the recorded total with what
        remains.
        """
        state = msgspec.structs.replace(self.state)
        with self._db.transaction() as db:
            db.executemany("DELETE FROM block WHERE id = ?", [(block_id,) for block_id in broken])
            there = self._count(db)
            lost, state.messages = max(0, state.messages - there), there
            state.damaged += lost
            db.execute("UPDATE state SET body = ? WHERE id = 1", (state_row(state),))
        self.state = state
        log.error("outbox_blocks_unreadable", blocks=len(broken), messages_lost=lost)

    def _count(self, db: sqlite3.Connection) -> int:
        return sum(_length(found[0]) for found in db.execute("SELECT unacked FROM block"))

    def _newest_id(self) -> int:
        with self._db.guarded() as db:
            return int(db.execute("SELECT coalesce(max(id), 0) FROM block").fetchone()[0])


def _is_sound(found: tuple[Any, ...]) -> bool:
    try:
        unrow(found)
    except OutboxDamaged:
        return False
    return True


def _remove(db: sqlite3.Connection, block_id: int) -> int:
    """Remove a block; returns how many messages it held."""
    gone = db.execute("DELETE FROM block WHERE id = ? RETURNING unacked", (block_id,)).fetchone()
    return _length(gone[0]) if gone else 0


def _narrow(db: sqlite3.Connection, block_id: int, left: list[int]) -> int:
    """Reduce a block to the messages `left`; returns how many others that settles."""
    query = "SELECT boot, session, kept, enqueued_at, unacked FROM block WHERE id = ?"
    found = db.execute(query, (block_id,)).fetchone()
    if found is None:
        return 0
    *columns, before = found
    unacked = spelled(left)
    sealed = seal(block_id, *columns, unacked)
    db.execute("UPDATE block SET unacked = ?, seal = ? WHERE id = ?", (unacked, sealed, block_id))
    return _length(before) - len(left)


def _set_aside(db: sqlite3.Connection, refused: list[Rejected]) -> None:
    for one in refused:
        db.execute(
            "INSERT INTO rejected(boot, seq, code, message, rejected_at, body) VALUES (?,?,?,?,?,?)",
            (one.boot, one.seq, one.code, one.message, one.at_ms, one.body),
        )
    if refused:
        db.execute("DELETE FROM rejected WHERE id <= (SELECT max(id) FROM rejected) - ?", (MAX_REJECTED,))


def _length(unacked: Any) -> int:
    try:
        return len(unspelled(unacked))
    except (msgspec.MsgspecError, TypeError):
        return 0


def _account(state: State, change: Change, settled: int, dropped: Dropped) -> None:
    state.messages += sum(len(block.messages) for block in change.add) - settled - dropped.messages
    state.rejected += len(change.reject)
    state.dropped += dropped.messages + change.lost
    if dropped.messages:
        state.dropped_from = dropped.from_ms if state.dropped_from is None else state.dropped_from
        state.dropped_to = dropped.to_ms
    if change.session is not None:
        state.session = change.session
    if change.others is not None:
        state.others = change.others
