"""What can still be read from a damaged outbox. The damaged file is kept beside the new one.

Three kinds of damage make SQLite refuse more than is lost, and are mended or read around: a first page that
is gone (ours is the same in every outbox, so a new one is laid over it), a file cut short (it is lengthened
with holes), and a broken leaf (read from the front, from the back, then one by one between).
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
"""No outbox is longer; a first page that says so is damaged itself."""
KEPT_REMAINS = 3
"""Damaged files kept; an ever failing card must not fill itself with its own remains."""
MISSES_IN_A_ROW = 2000
"""When so many ids one after the other give nothing, what follows is taken to be gone."""

log = structlog.get_logger(__name__)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def wal_size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return _beside(path, "-wal").stat().st_size
    return 0


def wal_length(frames: int) -> int:
    return WAL_HEADER_BYTES + frames * (WAL_FRAME_HEADER_BYTES + PAGE_BYTES) if frames else 0


def move_aside(path: Path) -> Path:
    """Rename the file and its WAL to the next `.damaged-<n>`; the oldest remains beyond KEPT_REMAINS go."""
    remains = sorted(path.parent.glob(path.name + ".damaged-*[0-9]"), key=_number)
    for old in remains[: max(0, len(remains) - KEPT_REMAINS + 1)]:
        for suffix in ("", "-wal", "-shm"):
            _beside(old, suffix).unlink(missing_ok=True)
    moved = _beside(path, f".damaged-{_number(remains[-1]) + 1 if remains else 1}")
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            _beside(path, suffix).rename(_beside(moved, suffix))
    return moved


def _number(path: Path) -> int:
    return int(path.name.rsplit("-", 1)[1])


class Remains:
    """A damaged file, mended as far as reading needs it. Rows come one by one: a week of them fits no memory."""

    def __init__(self, path: Path) -> None:
        for mend in (_lengthen, _transplant):
            if not _readable(path):
                mend(path)
        self._db = sqlite3.connect(path, isolation_level=None)

    def close(self) -> None:
        self._db.close()

    def state(self) -> object:
        with suppress(sqlite3.Error):
            return self._db.execute("SELECT max(body) FROM state WHERE id = 1").fetchone()[0]
        return None

    def blocks(self) -> Iterator[tuple[Any, ...]]:
        """Rows as they are, sound or not; some may come twice."""
        return _rows(self._db, SELECT)

    def rejected(self) -> Iterator[tuple[Any, ...]]:
        return _rows(self._db, "SELECT * FROM rejected")


def _readable(path: Path) -> bool:
    """Whether SQLite gets as far as the schema and the first row; what lies beyond is read around."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        try:
            return bool(db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'block'").fetchone()[0])
        except sqlite3.Error:
            return False


def _lengthen(path: Path) -> None:
    """A file shorter than its first page says is refused whole; with holes at its end it is not."""
    with path.open("r+b") as file:
        head = file.read(32)
        wanted = int.from_bytes(head[28:32], "big") * PAGE_BYTES
        if head.startswith(MAGIC) and path.stat().st_size < wanted <= LONGEST_BYTES:
            file.truncate(wanted)


def _transplant(path: Path) -> None:
    """Lay a new first page over the file: schema and root pages are the same in every outbox."""
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
    """Rows from the front up to the damage, from the back down to it, then every id between that answers."""
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
