"""What a session's row holds, and the unit of work that is committed. Service, writer and store share these types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.contracts.scg import ClockNote, Columns


@dataclass(frozen=True, slots=True)
class Session:
    """A row of scg_sessions without its month column; times in epoch ms."""

    id: str
    started_at_ms: float
    ended_at_ms: float | None = None
    kit: str | None = None
    user_agent: str = ""
    platform: str = ""
    unit: str = "m/s2"
    sensor: dict[str, Any] | None = None
    thinned_hz: float | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One message to be committed. `done` is called after the commit; entries are called in the order of submission.

    With `begins`, `put` is inserted only if no row exists: another relay may have created and described the session.
    """

    session: str
    done: Callable[[], None]
    columns: Columns | None = None
    boot: str | None = None
    seq: int | None = None
    clock: ClockNote | None = None
    put: Session | None = None
    begins: bool = False
    ended_at_ms: float | None = None

    @property
    def weight(self) -> int:
        return len(self.columns) if self.columns is not None else 1


def unawaited() -> None:
    """`done` of an entry that nobody waits for."""
