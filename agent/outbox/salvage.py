"""Reads what can still be read from a damaged outbox. The damaged file is kept beside the new one.

While being read it is called `.salvage-<n>`, so that a salvage interrupted by a full card or a power cut is resumed;
once everything is in the new file, `.damaged-<n>`. Three kinds of damage make SQLite refuse more than is lost, and are
repaired or worked around: a lost first page (the same in every outbox, so a new one is written over it), a truncated
file (extended with holes), and a broken leaf page (read from the front, from the back, then id by id in between).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import structlog

from agent.outbox.blocks import PAGE_BYTES, SCHEMA, SELECT

WAL_HEADER_BYTES = 32
WAL_FRAME_HEADER_BYTES = 24
MAGIC = b"SQLite format 3\x00"
LONGEST_BYTES = 64 << 30
"""No outbox is larger; a first page that claims more is itself damaged."""
FILES = ("", "-wal", "-shm")
KEPT_REMAINS = 3
"""Number of damaged files kept, so that a failing card does not fill up with them."""
MISSES_IN_A_ROW = 2000
"""After this many consecutive ids without a row, the rest is taken to be lost."""

log = structlog.get_logger(__name__)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def wal_size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return _beside(path, "-wal").stat().st_size
    return 0


def wal_length(frames: int) -> int:
    return WAL_HEADER_BYTES + frames * (WAL_FRAME_HEADER_BYTES + PAGE_BYTES) if frames else 0


def set_aside(path: Path) -> Path:
    """Rename the file and its WAL to the next `.salvage-<n>`, to be read before anything is written again."""
    return _rename(path, _next(path, "salvage"))


def unfinished(path: Path) -> list[Path]:
    """Files set aside and not completely read, oldest first; a WAL left behind by an interruption is moved
    to its file.
    """
    found = _kept(path, "salvage")
    if found and not path.exists():
        _rename(path, found[-1])
    return found


def retire(path: Path, remains: Path) -> None:
    """Everything readable is in the new file: rename the remains to `.damaged-<n>` and keep the latest KEPT_REMAINS."""
    before = _kept(path, "damaged")
    for old in before[: max(0, len(before) - KEPT_REMAINS + 1)]:
        for suffix in FILES:
            _beside(old, suffix).unlink(missing_ok=True)
    _rename(remains, _next(path, "damaged"))


def _kept(path: Path, what: str) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.{what}-*[0-9]"), key=_number)


def _next(path: Path, what: str) -> Path:
    kept = _kept(path, what)
    return _beside(path, f".{what}-{_number(kept[-1]) + 1 if kept else 1}")


def _rename(path: Path, to: Path) -> Path:
    for suffix in FILES:
        with suppress(FileNotFoundError):
            _beside(path, suffix).rename(_beside(to, suffix))
    return to


def _number(path: Path) -> int:
    return int(path.name.rsplit("-", 1)[1])


class Remains:
    """A damaged file, repaired as far as reading requires.

    Rows are yielded one by one, as a week of them would not fit memory.
    """

    def __init__(self, path: Path) -> None:
        for mend in (_lengthen, _transplant):
            if not _readable(path):
                mend(path)
        self._db = _opened(path)

    def close(self) -> None:
        self._db.close()

    def state(self) -> object:
        with suppress(sqlite3.Error):
            return self._db.execute("SELECT max(body) FROM state WHERE id = 1").fetchone()[0]
        return None

    def blocks(self) -> Iterator[tuple[Any, ...]]:
        """Rows as they are, damaged or not; some may appear twice."""
        return _rows(self._db, SELECT)

    def rejected(self) -> Iterator[tuple[Any, ...]]:
        return _rows(self._db, "SELECT * FROM rejected")


def _readable(path: Path) -> bool:
    """Whether SQLite can read the schema; damage beyond that is worked around."""
    with closing(_opened(path)) as db:
        try:
            return bool(db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'block'").fetchone()[0])
        except sqlite3.Error:
            return False


def _opened(path: Path) -> sqlite3.Connection:
    """With exclusive locking, SQLite keeps the WAL's index in memory, so that reading needs no space on a full card."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    return db


def _lengthen(path: Path) -> None:
    """Extend a file shorter than its first page claims, which SQLite would refuse as a whole, with a hole."""
    with path.open("r+b") as file:
        head = file.read(32)
        wanted = int.from_bytes(head[28:32], "big") * PAGE_BYTES
        if head.startswith(MAGIC) and path.stat().st_size < wanted <= LONGEST_BYTES:
            file.truncate(wanted)


def _transplant(path: Path) -> None:
    """Write a new first page over the file; schema and root pages are the same in every outbox."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as template:
        template.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        for statement in SCHEMA:
            template.execute(statement)
        page = bytearray(template.serialize()[:PAGE_BYTES])
    page[18:20] = b"\x02\x02"
    page[28:32] = (path.stat().st_size // PAGE_BYTES).to_bytes(4, "big")
    page[92:96] = page[24:28]
    with path.open("r+b") as file:
        file.write(page)


def _rows(db: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """Rows from the front up to the damage, then from the back down to it, then every id in between that
    can be read.
    """
    low, high = 0, None
    try:
        for row in db.execute(query + " ORDER BY id"):
            low = row[0]
            yield row
    except sqlite3.Error as error:
        log.info("outbox_damage_reached", after_id=low, reason=str(error))
    else:
        return
    with suppress(sqlite3.Error):
        for row in db.execute(query + " WHERE id > ? ORDER BY id DESC", (low,)):
            high = row[0]
            yield row
    probed, misses = low, 0
    while misses < MISSES_IN_A_ROW and (probed := probed + 1) != high:
        misses += 1
        with suppress(sqlite3.Error):
            for row in db.execute(query + " WHERE id = ?", (probed,)).fetchall():
                misses = 0
                yield row
