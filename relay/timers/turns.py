"""What a turn costs, and how one begins: shared by commands and expiry. Pure; each function returns a new state."""

from __future__ import annotations

from typing import TypeVar

from msgspec.structs import replace

from core.contracts.timers import MIN_TIME_MS, Mode
from relay.timers.states import State, running_clock, spent_ms

T = TypeVar("T")


def charged(state: State, now_ms: int, credit_ms: int) -> State:
    """Take the elapsed time off the running clock, and add it to the active player's time used."""
    clock = running_clock(state)
    if clock is None:
        return state
    spent = max(0, spent_ms(state, now_ms) - credit_ms)
    players = state.players
    if state.active >= 0:
        player = players[state.active]
        players = with_one(players, state.active, replace(player, used_ms=player.used_ms + spent))
    clocks = with_one(state.clocks, clock, state.clocks[clock] - spent)
    return replace(state, players=players, clocks=clocks, used_ms=state.used_ms + spent, since_ms=now_ms)


def turn(state: State, index: int, at_ms: int) -> State:
    """Begin a turn: the clock starts and warnings are due again; in per_cycle mode the clock is full again."""
    if state.plan.mode is Mode.PER_CYCLE and index >= 0:
        player = state.players[index]
        assert state.plan.time_per_cycle_ms is not None
        full = max(state.plan.time_per_cycle_ms - player.penalty_ms, MIN_TIME_MS)
        players = with_one(state.players, index, replace(player, expired=False, penalty_ms=0))
        state = replace(state, players=players, clocks=(full,))
    return replace(state, active=index, since_ms=at_ms, cycle_ms=at_ms, warned=0, told=False)


def with_one(values: tuple[T, ...], index: int, value: T) -> tuple[T, ...]:
    return (*values[:index], value, *values[index + 1 :])
