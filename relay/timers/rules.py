"""The rules of a timer session, pure: a state and the time in, a state and events out. Calculate, don't count.

What is due by now is found by `settle`, whoever asks and however late; each expiry happens at its own moment, not when
somebody noticed. The other rules expect a settled state. Every new version is one more than the last.
"""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec.structs import replace

from core.contracts.timers import MAX_PARTICIPANTS, MIN_TIME_MS, Mode, Switch
from relay.timers.states import (
    CONFLICT,
    INVALID,
    TRANSITION,
    UNFINISHED,
    Changed,
    Event,
    Player,
    Refused,
    State,
    Status,
    Step,
    TimeExpired,
    TimeWarning,
    active_id,
    deadline_ms,
    left_ms,
    position,
    running_clock,
    spent_ms,
)

_DEFAULT_ACTION = {"type": "end_session", "outcome": "timeout"}
_ALL = Changed(None)
_T = TypeVar("_T")


# -- what happens by itself ------------------------------------------------------------------------------------------


def settle(state: State, now_ms: int) -> Step:
    """Everything that was due until now, in its order."""
    due = deadline_ms(state)
    if due is None or due > now_ms:
        return Step(state)
    state = _skip_whole_rounds(state, now_ms)
    events: list[Event] = []
    while (due := deadline_ms(state)) is not None and due <= now_ms:
        state, more = _warn(state, due) if state.warned < len(state.plan.warnings) else _expire(state, due)
        events.extend(more)
    return Step(state, tuple(events))


def _skip_whole_rounds(state: State, now_ms: int) -> State:
    """A relay that was away for days does not play every turn of it: whole rounds of equal turns leave no trace."""
    turn = state.plan.time_per_cycle_ms
    if state.plan.mode is not Mode.PER_CYCLE or not turn or not _advances(state):
        return state
    if any(player.penalty_ms for player in state.players) or _penalty(state):
        return state
    rounds = (now_ms - state.since_ms) // (turn * len(state.players)) - 1
    if rounds < 1:
        return state
    skipped = rounds * turn * len(state.players)
    players = tuple(replace(player, used_ms=player.used_ms + rounds * turn) for player in state.players)
    return replace(
        state,
        players=players,
        used_ms=state.used_ms + skipped,
        since_ms=state.since_ms + skipped,
        cycle_ms=None if state.cycle_ms is None else state.cycle_ms + skipped,
    )


def _warn(state: State, due_ms: int) -> Step:
    clock = running_clock(state)
    assert clock is not None
    name, _ = state.plan.warnings[state.warned]
    event = TimeWarning(active_id(state), left_ms(state, clock, due_ms), name, due_ms)
    warned = replace(state, warned=state.warned + 1)
    return Step(warned, (event,) if event.remaining_ms > 0 else ())


def _expire(state: State, due_ms: int) -> Step:
    who = active_id(state)
    state = _mark_expired(_charged(state, due_ms, 0))
    following = _next_with_time(state) if _advances(state) else None
    if following is not None:
        state, applied = _advanced(state, following, due_ms)
    elif _ends(state):
        applied = _ending(state)
        state = replace(state, status=Status.EXPIRED, told=True, expired_ms=due_ms, expired_by=who, applied=applied)
    else:
        applied = dict(_action(state))
        state = replace(_acted(state, due_ms), told=True, applied=applied)
    state = replace(state, version=state.version + 1, updated_ms=due_ms)
    return Step(state, (TimeExpired(who, applied, due_ms), _ALL))


def _action(state: State) -> dict[str, Any]:
    return state.plan.action or _DEFAULT_ACTION


def _automatic(state: State) -> str:
    """What auto_action does: switch (unless it says otherwise), pause or complete."""
    wanted = _action(state).get("action", "switch")
    return wanted if isinstance(wanted, str) else ""


def _advances(state: State) -> bool:
    kind = _action(state)["type"]
    automatic = kind == "auto_action" and _automatic(state) == "switch"
    return bool(state.players) and (state.plan.auto_advance or kind == "skip_cycle" or automatic)


def _ends(state: State) -> bool:
    """Whether running out is the end: by agreement, or because to go on somebody would need time."""
    return _action(state)["type"] == "end_session" or _advances(state)


def _penalty(state: State) -> int:
    wanted = _action(state).get("penalty", 0)
    whole = isinstance(wanted, int) and not isinstance(wanted, bool)
    return max(0, int(wanted)) if whole and _action(state)["type"] == "skip_cycle" else 0


def _mark_expired(state: State) -> State:
    if state.active < 0:
        return state
    player = state.players[state.active]
    player = replace(player, expired=True, penalty_ms=player.penalty_ms + _penalty(state))
    return replace(state, players=_with(state.players, state.active, player))


def _next_with_time(state: State) -> int | None:
    """Whose turn it is after the active one's, those passed over who have nothing left."""
    count = len(state.players)
    for step in range(1, count + 1):
        index = (state.active + step) % count
        if state.plan.mode is Mode.PER_CYCLE or state.clocks[state.players[index].clock] > 0:
            return index
    return None


def _advanced(state: State, following: int, at_ms: int) -> tuple[State, dict[str, Any]]:
    action = _action(state)
    by_itself = action["type"] in ("end_session", "notify")
    applied = {"type": "auto_advance"} if by_itself else dict(action)
    applied["next_participant_id"] = state.players[following].id
    return replace(_turn(state, following, at_ms), applied=applied), applied


def _acted(state: State, at_ms: int) -> State:
    """auto_action's other two; anything else leaves the session running, its clock at zero."""
    if _action(state)["type"] == "auto_action" and _automatic(state) == "pause":
        return replace(state, status=Status.PAUSED, paused_ms=at_ms)
    if _action(state)["type"] == "auto_action" and _automatic(state) == "complete":
        return replace(state, status=Status.COMPLETED, completed_ms=at_ms)
    return state


def _ending(state: State) -> dict[str, Any]:
    """end_session with its winner: the one it names, else the one side that is left of two."""
    action = _action(state)
    applied = dict(action) if action["type"] == "end_session" else dict(_DEFAULT_ACTION)
    if applied.get("winner") is None and (winner := _other_side(state)) is not None:
        applied["winner"] = winner
    return applied


def _other_side(state: State) -> str | None:
    if state.plan.mode in (Mode.GLOBAL, Mode.COUNT_UP) or state.active < 0:
        return None
    loser = state.players[state.active]
    if state.plan.mode is Mode.PER_GROUP:
        others = [group for group in state.plan.groups if group != loser.group]
    else:
        others = [player.id for player in state.players if player.id != loser.id]
    return others[0] if len(others) == 1 else None


# -- what somebody asks for ------------------------------------------------------------------------------------------


def start(state: State, now_ms: int) -> Step:
    _require(state, "start", Status.PENDING)
    first = position(state, state.plan.first) if state.plan.first is not None else (0 if state.players else -1)
    began = replace(state, status=Status.RUNNING)
    return _next_version(_turn(began, first, now_ms), now_ms, None)


def switch(state: State, command: Switch, now_ms: int) -> Step:
    """The next one's turn: elapsed off, floor 0, then the increment unless expired."""
    _require(state, "switch", Status.RUNNING)
    current = state.active
    if command.current_participant_id is not None and command.current_participant_id != active_id(state):
        raise Refused(CONFLICT, f"It is {active_id(state)!r} whose turn it is, not {command.current_participant_id!r}.")
    following = _following(state, command.next_participant_id)
    credit, state = _credit(state, command.lag_ms)
    state = _increment(_charged(state, now_ms, credit))
    touched = {state.players[index].id for index in (current, following) if index >= 0}
    return _next_version(_turn(state, following, now_ms), now_ms, frozenset(touched) if len(state.clocks) > 1 else None)


def pause(state: State, now_ms: int) -> Step:
    _require(state, "pause", Status.RUNNING)
    return _next_version(replace(_charged(state, now_ms, 0), status=Status.PAUSED, paused_ms=now_ms), now_ms, None)


def resume(state: State, now_ms: int) -> Step:
    """The same turn goes on: what was left is left, and what was warned of is not warned of again."""
    _require(state, "resume", Status.PAUSED)
    state = replace(state, status=Status.RUNNING, since_ms=now_ms, cycle_ms=now_ms, paused_ms=None)
    return _next_version(state, now_ms, None)


def complete(state: State, now_ms: int) -> Step:
    _require(state, "complete", *UNFINISHED)
    state = replace(_charged(state, now_ms, 0), status=Status.COMPLETED, completed_ms=now_ms)
    return _next_version(state, now_ms, None)


def add(state: State, player: Player, time_ms: int | None, now_ms: int) -> Step:
    """Somebody joins the rotation at its index (the end, when that is -1)."""
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
    """Set what a participant's clock shows; those who share the clock share the change."""
    _require(state, "adjust", *UNFINISHED)
    index = position(state, participant_id)
    if index < 0:
        raise Refused("PARTICIPANT_NOT_FOUND", f"No participant {participant_id!r} in this session.")
    state = _charged(state, now_ms, 0)
    clock = state.players[index].clock
    state = _shows(state, clock, time_ms)
    players = tuple(replace(one, expired=False) if one.clock == clock and one.expired else one for one in state.players)
    state = replace(state, players=players)
    if clock == (state.players[state.active].clock if state.active >= 0 else 0):
        still = sum(1 for _, at_ms in state.plan.warnings if at_ms >= state.clocks[clock])
        state = replace(state, told=False, warned=min(state.warned, still))
    return _next_version(state, now_ms, frozenset({participant_id}) if len(state.clocks) > 1 else None)


def expect(state: State, version: int | None) -> None:
    """Refuses a request that was meant for another version."""
    if version is not None and version != state.version:
        raise Refused(CONFLICT, f"The session is at version {state.version}, not {version}. Read it again.")


# -- parts -----------------------------------------------------------------------------------------------------------


def _require(state: State, wanted: str, *allowed: Status) -> None:
    if state.status not in allowed:
        names = " or ".join(sorted(allowed))
        raise Refused(
            TRANSITION, f"Cannot {wanted} a session that is {state.status.value}; it would have to be {names}."
        )


def _charged(state: State, now_ms: int, credit_ms: int) -> State:
    """Take what elapsed off the running clock and note it for who played."""
    clock = running_clock(state)
    if clock is None:
        return state
    spent = max(0, spent_ms(state, now_ms) - credit_ms)
    players = state.players
    if state.active >= 0:
        player = players[state.active]
        players = _with(players, state.active, replace(player, used_ms=player.used_ms + spent))
    clocks = _with(state.clocks, clock, state.clocks[clock] - spent)
    return replace(state, players=players, clocks=clocks, used_ms=state.used_ms + spent, since_ms=now_ms)


def _increment(state: State) -> State:
    if not state.plan.increment_ms or state.active < 0 or state.plan.mode not in (Mode.PER_PARTICIPANT, Mode.PER_GROUP):
        return state
    player = state.players[state.active]
    if player.expired or state.clocks[player.clock] <= 0:
        return state
    clocks = _with(state.clocks, player.clock, state.clocks[player.clock] + state.plan.increment_ms)
    return replace(state, clocks=clocks)


def _turn(state: State, index: int, at_ms: int) -> State:
    """A turn begins: the clock starts, warnings are due anew; in per_cycle the clock is full again."""
    if state.plan.mode is Mode.PER_CYCLE and index >= 0:
        player = state.players[index]
        assert state.plan.time_per_cycle_ms is not None
        full = max(state.plan.time_per_cycle_ms - player.penalty_ms, MIN_TIME_MS)
        players = _with(state.players, index, replace(player, expired=False, penalty_ms=0))
        state = replace(state, players=players, clocks=(full,))
    return replace(state, active=index, since_ms=at_ms, cycle_ms=at_ms, warned=0, told=False)


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
    """What of a move's lag is given back, and the quota after it (as chess servers do; see docs/decisions.md)."""
    lag = state.plan.lag
    if lag is None or state.active < 0:
        return 0, state
    player = state.players[state.active]
    credit = min(lag_ms, player.quota_ms)
    quota = min(lag.most_ms, player.quota_ms - credit + lag.regain_ms)
    return credit, replace(state, players=_with(state.players, state.active, replace(player, quota_ms=quota)))


def _clock_for(state: State, player: Player, time_ms: int | None) -> tuple[int, tuple[int, ...]]:
    """The clock a newcomer plays on, and all clocks: its own, its group's, or the one there is."""
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
    """A clock set so that it shows `time_ms`: a stopwatch shows what is gone, every other what is left."""
    if state.plan.mode is not Mode.COUNT_UP:
        return replace(state, clocks=_with(state.clocks, clock, time_ms))
    limit = state.clocks[0] + state.used_ms
    if time_ms >= limit:
        raise Refused(INVALID, f"total_time_ms: a stopwatch that ends at {limit} cannot be set to {time_ms}.")
    return replace(state, clocks=(limit - time_ms,), used_ms=time_ms)


def _next_version(state: State, now_ms: int, touched: frozenset[str] | None) -> Step:
    return Step(replace(state, version=state.version + 1, updated_ms=now_ms), (Changed(touched),))


def _with(values: tuple[_T, ...], index: int, value: _T) -> tuple[_T, ...]:
    return (*values[:index], value, *values[index + 1 :])
