"""What can still be read from a damaged outbox. The damaged file is kept beside the new one.

While it is read it is called `.salvage-<n>`, so that a salvage cut short by a full card or a power cut is gone on with;
when all of it is in the new file, `.damaged-<n>`. Three kinds of damage make SQLite refuse more than is lost, and are
mended or read around: a first page that is gone (ours is the same in every outbox, so a new one is laid over it), a
file cut short (it is lengthened with holes), and a broken leaf (read from the front, from the back, then one by one
between).
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
FILES = ("", "-wal", "-shm")
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


def set_aside(path: Path) -> Path:
    """Rename the file and its WAL to the next `.salvage-<n>`: to be read before anything is written again."""
    return _rename(path, _next(path, "salvage"))


def unfinished(path: Path) -> list[Path]:
    """What was set aside and not read to its end, oldest first; a WAL that the cut left behind joins its file."""
    found = _kept(path, "salvage")
    if found and not path.exists():
        _rename(path, found[-1])
    return found


def retire(path: Path, remains: Path) -> None:
    """All that could be read is in the new file: keep the remains as `.damaged-<n>`, the latest KEPT_REMAINS."""
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
    """A damaged file, mended as far as reading needs it. Rows come one by one: a week of them fits no memory."""

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
        """Rows as they are, sound or not; some may come twice."""
        return _rows(self._db, SELECT)

    def rejected(self) -> Iterator[tuple[Any, ...]]:
        return _rows(self._db, "SELECT * FROM rejected")


def _readable(path: Path) -> bool:
    """Whether SQLite gets as far as the schema and the first row; what lies beyond is read around."""
    with closing(_opened(path)) as db:
        try:
            return bool(db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'block'").fetchone()[0])
        except sqlite3.Error:
            return False


def _opened(path: Path) -> sqlite3.Connection:
    """Alone with the file, SQLite keeps its index of the WAL in memory: reading needs no room on a full card."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    return db


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
