"""The outbox's open file; errors of SQLite are translated into the outbox's own.

Pages are 512 bytes, so that a commit of 2 kB dirties two of the kernel's pages instead of four;
`tests/bench/bench_outbox.py` measures bytes written per day. The lock is held while the file is open, because two
agents on one folder would hand out the same block twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import OutboxDamaged, OutboxError, OutboxInUse, OutboxUnwritable
from agent.outbox.blocks import PAGE_BYTES, SCHEMA, State, unstate

WAL_PAGES = 4000
"""Checkpoint every 2 MB: a page written every second reaches the main file only once in a quarter of an hour."""
PRAGMAS = (
    f"page_size = {PAGE_BYTES}",
    "locking_mode = EXCLUSIVE",
    "journal_mode = WAL",
    "synchronous = FULL",
    f"wal_autocheckpoint = {WAL_PAGES}",
    "cell_size_check = ON",
)


class Database:
    """One connection, one writer, one fsync per commit. Raises OutboxUnwritable, OutboxInUse and OutboxDamaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def open(self) -> State:
        """Open the file, creating tables in a new one; returns the state of the last commit."""
        try:
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=0.5)
        except sqlite3.Error as error:
            raise _translated(error, self.path) from None
        self._connection = db
        try:
            with self.guarded():
                return self._prepare(db)
        except OutboxError:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def guarded(self) -> Iterator[sqlite3.Connection]:
        """For single statements, each its own transaction; translates errors."""
        if self._connection is None:
            raise OutboxUnwritable(f"{self.path} is not open")
        try:
            yield self._connection
        except sqlite3.Error as error:
            raise _translated(error, self.path) from None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed if the block succeeds, otherwise rolled back."""
        with self.guarded() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def pragma(self, name: str) -> int:
        with self.guarded() as db:
            return int(db.execute(f"PRAGMA {name}").fetchone()[0])

    def used_bytes(self) -> int:
        return (self.pragma("page_count") - self.pragma("freelist_count")) * PAGE_BYTES

    def _prepare(self, db: sqlite3.Connection) -> State:
        for pragma in PRAGMAS:
            db.execute(f"PRAGMA {pragma}")
        version = self.pragma("user_version")
        if version > 1:
            raise OutboxError(f"{self.path} was written by a newer homeside: update, or move it away")
        if version == 0:
            db.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA:
                db.execute(statement)
            db.execute("COMMIT")
        state = unstate(db.execute("SELECT max(body) FROM state WHERE id = 1").fetchone()[0])
        if state is None:
            raise OutboxDamaged("its state row cannot be read")
        return state


def _translated(error: sqlite3.Error, path: Path) -> OutboxError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or not isinstance(error, sqlite3.OperationalError):
        return OutboxDamaged(f"{path.name}: {error}")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return OutboxInUse(f"{path} is held by another agent: stop it, or give this one its own --state folder")
    return OutboxUnwritable(f"{path} cannot be written ({error}): free some space, or mount it writable")
