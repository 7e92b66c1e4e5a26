"""What a session's row holds, and what is committed of it at once: the words between service, writer and store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.contracts.scg import ClockNote, Columns


@dataclass(frozen=True, slots=True)
class Session:
    """A row of scg_sessions but its month; times in epoch ms."""

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
    """One message to be committed. `done` is called after the commit, in the order of submission.

    A session that `begins` is put only where none is: another relay may have begun and described it meanwhile.
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
