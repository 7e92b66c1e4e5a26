"""A timer session as frozen values: what was agreed (`Plan`), its state (`State`), what happened (`Event`).

All times are whole ms of the relay's steady timescale. Every mode is the same machine: some clocks, of which at most
one runs, and participants who each play on one of them. `clocks` hold the time left at `since_ms`; nothing ticks.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from core.contracts.timers import Lag, Mode

UNLIMITED_MS = 10**15
"""The clock of a stopwatch without `max_time_ms`: 30,000 years."""


class Status(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    EXPIRED = "expired"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


UNFINISHED = frozenset({Status.PENDING, Status.RUNNING, Status.PAUSED})


class Plan(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What does not change while a session lives. `warnings` are (name, ms left), the largest first."""

    session_id: str
    mode: Mode
    created_ms: int
    first: str | None = None
    increment_ms: int = 0
    time_per_cycle_ms: int | None = None
    max_time_ms: int | None = None
    auto_advance: bool = False
    action: dict[str, Any] | None = None
    warnings: tuple[tuple[str, int], ...] = ()
    lag: Lag | None = None
    groups: tuple[str, ...] = ()
    metadata: dict[str, Any] | None = None


class Player(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, array_like=True):
    """A participant: its clock (an index into `clocks`), the time it has played, and the penalty on its next turn."""

    id: str
    index: int
    clock: int = 0
    group: str | None = None
    used_ms: int = 0
    expired: bool = False
    penalty_ms: int = 0
    quota_ms: int = 0


class State(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One session at one version. `active` is an index into `players`, or -1 when it is nobody's turn.

    `warned` counts the warnings given in this turn; `told` means that the running clock's expiry was announced.
    """

    plan: Plan
    status: Status
    players: tuple[Player, ...]
    clocks: tuple[int, ...]
    since_ms: int
    updated_ms: int
    version: int = 1
    active: int = -1
    cycle_ms: int | None = None
    used_ms: int = 0
    warned: int = 0
    told: bool = False
    paused_ms: int | None = None
    completed_ms: int | None = None
    expired_ms: int | None = None
    expired_by: str | None = None
    applied: dict[str, Any] | None = None


class TimeWarning(NamedTuple):
    participant_id: str | None
    remaining_ms: int
    threshold: str
    at_ms: int


class TimeExpired(NamedTuple):
    participant_id: str | None
    applied: dict[str, Any]
    at_ms: int


class Changed(NamedTuple):
    """There is a new version. `touched` names the players whose entry changed; None means all."""

    touched: frozenset[str] | None


Event = TimeWarning | TimeExpired | Changed


class Step(NamedTuple):
    """What a rule returns: the new state, and the events to send, in order."""

    state: State
    events: tuple[Event, ...] = ()


class Refused(Exception):
    """A request that the session does not allow in its present state. The API makes an error code of `kind`."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


INVALID, CONFLICT, TRANSITION = "VALIDATION_ERROR", "CONFLICT", "INVALID_STATE_TRANSITION"


def running_clock(state: State) -> int | None:
    """Index of the clock that runs now, or None."""
    if state.status is not Status.RUNNING or not state.clocks:
        return None
    return state.players[state.active].clock if state.active >= 0 else 0


def spent_ms(state: State, now_ms: int) -> int:
    """How much the running clock has lost since `since_ms`: between 0 and what it had."""
    clock = running_clock(state)
    return 0 if clock is None else max(0, min(now_ms - state.since_ms, state.clocks[clock]))


def left_ms(state: State, clock: int, now_ms: int) -> int:
    """What is left on a clock at `now_ms`."""
    return state.clocks[clock] - (spent_ms(state, now_ms) if clock == running_clock(state) else 0)


def used_ms(state: State, now_ms: int) -> int:
    """How long the session has run."""
    return state.used_ms + spent_ms(state, now_ms)


def deadline_ms(state: State) -> int | None:
    """When something happens by itself next (a warning or an expiry); None if nothing will."""
    clock = running_clock(state)
    if clock is None or state.told:
        return None
    left = state.clocks[clock]
    if state.warned < len(state.plan.warnings):
        return state.since_ms + max(0, left - state.plan.warnings[state.warned][1])
    return state.since_ms + left


def position(state: State, participant_id: str) -> int:
    """Index of a participant, or -1 when it is unknown."""
    for index, player in enumerate(state.players):
        if player.id == participant_id:
            return index
    return -1


def active_id(state: State) -> str | None:
    return state.players[state.active].id if state.active >= 0 else None
