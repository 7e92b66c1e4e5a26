"""A read-only look into an outbox from outside, for `homeside doctor`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from agent.errors import OutboxDamaged, OutboxInUse
from agent.outbox.blocks import State, unstate


def inspect(path: Path) -> State:
    """The state of an outbox that no agent holds, after checking the whole file.

    Raises OutboxInUse or OutboxDamaged.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.2)) as db:
            verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise OutboxDamaged(f"{path}: {verdict}")
            state = unstate(db.execute("SELECT max(body) FROM state WHERE id = 1").fetchone()[0])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise OutboxInUse(f"{path} is held by a running agent") from None
        raise OutboxDamaged(f"{path}: {error}") from None
    except sqlite3.Error as error:
        raise OutboxDamaged(f"{path}: {error}") from None
    if state is None:
        raise OutboxDamaged(f"{path}: its state row cannot be read")
    return state
