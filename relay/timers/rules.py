"""What may be done to a timer session: a state, a command and the time give a new state and events, or Refused. Pure.

Remaining time is calculated, not counted down. Every rule expects a settled state (relay.timers.expiry) and adds one to
the version.
"""

from __future__ import annotations

from msgspec.structs import replace

from core.contracts.timers import MAX_PARTICIPANTS, Mode, Switch
from relay.timers.states import (
    CONFLICT,
    INVALID,
    TRANSITION,
    UNFINISHED,
    Changed,
    Player,
    Refused,
    State,
    Status,
    Step,
    active_id,
    position,
)
from relay.timers.turns import charged, turn, with_one


def start(state: State, now_ms: int) -> Step:
    _require(state, "start", Status.PENDING)
    first = position(state, state.plan.first) if state.plan.first is not None else (0 if state.players else -1)
    began = replace(state, status=Status.RUNNING)
    return _next_version(turn(began, first, now_ms), now_ms, None)


def switch(state: State, command: Switch, now_ms: int) -> Step:
    """Switch turns: charge the elapsed time (not below 0), then add the increment unless the clock expired."""
    _require(state, "switch", Status.RUNNING)
    current = state.active
    if command.current_participant_id is not None and command.current_participant_id != active_id(state):
        raise Refused(CONFLICT, f"It is {active_id(state)!r} whose turn it is, not {command.current_participant_id!r}.")
    following = _following(state, command.next_participant_id)
    credit, state = _credit(state, command.lag_ms)
    state = _increment(charged(state, now_ms, credit))
    touched = {state.players[index].id for index in (current, following) if index >= 0}
    return _next_version(turn(state, following, now_ms), now_ms, frozenset(touched) if len(state.clocks) > 1 else None)


def pause(state: State, now_ms: int) -> Step:
    _require(state, "pause", Status.RUNNING)
    return _next_version(replace(charged(state, now_ms, 0), status=Status.PAUSED, paused_ms=now_ms), now_ms, None)


def resume(state: State, now_ms: int) -> Step:
    """The same turn goes on with the time it had left; warnings already given are not repeated."""
    _require(state, "resume", Status.PAUSED)
    state = replace(state, status=Status.RUNNING, since_ms=now_ms, cycle_ms=now_ms, paused_ms=None)
    return _next_version(state, now_ms, None)


def complete(state: State, now_ms: int) -> Step:
    _require(state, "complete", *UNFINISHED)
    state = replace(charged(state, now_ms, 0), status=Status.COMPLETED, completed_ms=now_ms)
    return _next_version(state, now_ms, None)


def add(state: State, player: Player, time_ms: int | None, now_ms: int) -> Step:
    """Add a participant to the rotation at its index, or at the end when that is -1."""
    _require(state, "add a participant to", *UNFINISHED)
    if position(state, player.id) >= 0:
        raise Refused(CONFLICT, f"Participant {player.id!r} is in this session already.")
    if len(state.players) >= MAX_PARTICIPANTS:
        raise Refused(INVALID, f"A session holds at most {MAX_PARTICIPANTS} participants.")
    if player.index < 0:
        player = replace(player, index=max((one.index for one in state.players), default=-1) + 1)
    if any(one.index == player.index for one in state.players):
        raise Refused(INVALID, f"participant_index {player.index} is taken; leave it out to come last.")
    clock, clocks = _clock_for(state, player, time_ms)
    who = active_id(state)
    joined = (*state.players, replace(player, clock=clock))
    players = tuple(sorted(joined, key=lambda one: one.index))
    state = replace(state, players=players, clocks=clocks)
    state = replace(state, active=-1 if who is None else position(state, who))
    return _next_version(state, now_ms, frozenset({player.id}))


def update_time(state: State, participant_id: str, time_ms: int, now_ms: int) -> Step:
    """Set what a participant's clock shows; participants who share the clock share the change."""
    _require(state, "adjust", *UNFINISHED)
    index = position(state, participant_id)
    if index < 0:
        raise Refused("PARTICIPANT_NOT_FOUND", f"No participant {participant_id!r} in this session.")
    state = charged(state, now_ms, 0)
    clock = state.players[index].clock
    state = _shows(state, clock, time_ms)
    players = tuple(replace(one, expired=False) if one.clock == clock and one.expired else one for one in state.players)
    state = replace(state, players=players)
    if clock == (state.players[state.active].clock if state.active >= 0 else 0):
        still = sum(1 for _, at_ms in state.plan.warnings if at_ms >= state.clocks[clock])
        state = replace(state, told=False, warned=min(state.warned, still))
    return _next_version(state, now_ms, frozenset({participant_id}) if len(state.clocks) > 1 else None)


def expect(state: State, version: int | None) -> None:
    """Refuse a request that was meant for another version."""
    if version is not None and version != state.version:
        raise Refused(CONFLICT, f"The session is at version {state.version}, not {version}. Read it again.")


def _require(state: State, wanted: str, *allowed: Status) -> None:
    if state.status not in allowed:
        names = " or ".join(sorted(allowed))
        raise Refused(
            TRANSITION, f"Cannot {wanted} a session that is {state.status.value}; it would have to be {names}."
        )


def _increment(state: State) -> State:
    if not state.plan.increment_ms or state.active < 0 or state.plan.mode not in (Mode.PER_PARTICIPANT, Mode.PER_GROUP):
        return state
    player = state.players[state.active]
    if player.expired or state.clocks[player.clock] <= 0:
        return state
    clocks = with_one(state.clocks, player.clock, state.clocks[player.clock] + state.plan.increment_ms)
    return replace(state, clocks=clocks)


def _following(state: State, wanted: str | None) -> int:
    if not state.players:
        raise Refused(INVALID, "This session has nobody to switch to; add participants first.")
    if wanted is None:
        return (state.active + 1) % len(state.players)
    index = position(state, wanted)
    if index < 0:
        raise Refused(INVALID, f"next_participant_id: no participant {wanted!r} in this session.")
    if index == state.active and len(state.players) > 1:
        raise Refused(INVALID, f"next_participant_id: it is {wanted!r} whose turn it is already.")
    return index


def _credit(state: State, lag_ms: int) -> tuple[int, State]:
    """How much of a move's lag is credited, and the state with its new quota (docs/decisions.md)."""
    lag = state.plan.lag
    if lag is None or state.active < 0:
        return 0, state
    player = state.players[state.active]
    credit = min(lag_ms, player.quota_ms)
    quota = min(lag.most_ms, player.quota_ms - credit + lag.regain_ms)
    return credit, replace(state, players=with_one(state.players, state.active, replace(player, quota_ms=quota)))


def _clock_for(state: State, player: Player, time_ms: int | None) -> tuple[int, tuple[int, ...]]:
    """The clock a newcomer plays on (its own, its group's or the only one), and all clocks."""
    mode = state.plan.mode
    if mode is Mode.PER_PARTICIPANT:
        if time_ms is None:
            raise Refused(INVALID, "total_time_ms: per_participant needs everyone's time.")
        return len(state.clocks), (*state.clocks, time_ms)
    if mode is Mode.PER_GROUP:
        if player.group not in state.plan.groups:
            raise Refused(INVALID, f"group_id: no group {player.group!r}; there are {', '.join(state.plan.groups)}.")
        return state.plan.groups.index(player.group), state.clocks
    return 0, state.clocks


def _shows(state: State, clock: int, time_ms: int) -> State:
    """Set a clock so that it shows `time_ms`: on a stopwatch the time elapsed, otherwise the time left."""
    if state.plan.mode is not Mode.COUNT_UP:
        return replace(state, clocks=with_one(state.clocks, clock, time_ms))
    limit = state.clocks[0] + state.used_ms
    if time_ms >= limit:
        raise Refused(INVALID, f"total_time_ms: a stopwatch that ends at {limit} cannot be set to {time_ms}.")
    return replace(state, clocks=(limit - time_ms,), used_ms=time_ms)


def _next_version(state: State, now_ms: int, touched: frozenset[str] | None) -> Step:
    return Step(replace(state, version=state.version + 1, updated_ms=now_ms), (Changed(touched),))
