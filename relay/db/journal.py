"""Recovers the journal (WAL) that an unclean stop of SQLite left, at the next start, and logs it.

A WAL is valid up to its last whole commit; what follows was never acknowledged (sqlite.org, "WAL-mode File Format").
A damaged database is not repaired: the start stops, and the message names the remedy.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import structlog

from relay.errors import StoreUnavailable

WAL_HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
CHECKED_AT_OPEN_BYTES = 64 << 20
"""Up to this size the whole file is checked at every start; of a larger one, each chunk when it is read."""

log = structlog.get_logger(__name__)


def recover(path: Path) -> None:
    """Recover the journal beside the database at `path`. Raises StoreUnavailable when the database is damaged."""
    left_over = _size(path.with_name(path.name + "-wal"))
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=10)) as database:
            _check(database, path)
            pages = int(database.execute("PRAGMA page_size").fetchone()[0])
            frames = max(0, int(database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]))
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.DatabaseError as error:
        raise StoreUnavailable(_remedy(path, str(error))) from None
    if left_over:
        whole = WAL_HEADER_BYTES + frames * (FRAME_HEADER_BYTES + pages) if frames else 0
        log.info("journal_recovered", frames=frames, tail_bytes_ignored=max(0, left_over - whole))


def _check(database: sqlite3.Connection, path: Path) -> None:
    if _size(path) <= CHECKED_AT_OPEN_BYTES:
        found = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
        if found != "ok":
            raise StoreUnavailable(_remedy(path, found.splitlines()[0]))


def _remedy(path: Path, found: str) -> str:
    return (
        f"the database {path.name} is damaged ({found}). Put a copy from your backup in its place, or move it and its "
        "-wal and -shm files aside to begin with an empty one; kits send again what was never acknowledged."
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
