"""What happens in a timer session by itself: warnings and expiry. Pure.

Each event gets the moment at which it was due, not when somebody looked, so a relay that was away for days finds the
same events as one that was running all the time.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from core.contracts.timers import Mode
from relay.timers.states import (
    Changed,
    Event,
    State,
    Status,
    Step,
    TimeExpired,
    TimeWarning,
    active_id,
    deadline_ms,
    left_ms,
    running_clock,
)
from relay.timers.turns import charged, turn, with_one

_DEFAULT_ACTION = {"type": "end_session", "outcome": "timeout"}
_ALL = Changed(None)


def settle(state: State, now_ms: int) -> Step:
    """Apply everything that was due until now, in order."""
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
    """Skip whole rounds of equal turns at once: a relay that was away for days need not replay every turn."""
    turn_ms = state.plan.time_per_cycle_ms
    if state.plan.mode is not Mode.PER_CYCLE or not turn_ms or not _advances(state):
        return state
    if any(player.penalty_ms for player in state.players) or _penalty(state):
        return state
    rounds = (now_ms - state.since_ms) // (turn_ms * len(state.players)) - 1
    if rounds < 1:
        return state
    skipped = rounds * turn_ms * len(state.players)
    players = tuple(replace(player, used_ms=player.used_ms + rounds * turn_ms) for player in state.players)
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
    state = _mark_expired(charged(state, due_ms, 0))
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
    """What auto_action does: switch (the default), pause or complete."""
    wanted = _action(state).get("action", "switch")
    return wanted if isinstance(wanted, str) else ""


def _advances(state: State) -> bool:
    kind = _action(state)["type"]
    automatic = kind == "auto_action" and _automatic(state) == "switch"
    return bool(state.players) and (state.plan.auto_advance or kind == "skip_cycle" or automatic)


def _ends(state: State) -> bool:
    """Whether expiry ends the session: because it was agreed, or because nobody has time left to go on."""
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
    return replace(state, players=with_one(state.players, state.active, player))


def _next_with_time(state: State) -> int | None:
    """Index of the next player after the active one who has time left; None when nobody has."""
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
    return replace(turn(state, following, at_ms), applied=applied), applied


def _acted(state: State, at_ms: int) -> State:
    """auto_action's pause and complete; any other action leaves the session running with its clock at zero."""
    if _action(state)["type"] == "auto_action" and _automatic(state) == "pause":
        return replace(state, status=Status.PAUSED, paused_ms=at_ms)
    if _action(state)["type"] == "auto_action" and _automatic(state) == "complete":
        return replace(state, status=Status.COMPLETED, completed_ms=at_ms)
    return state


def _ending(state: State) -> dict[str, Any]:
    """The end_session action with its winner: the one it names, or the other of exactly two sides."""
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
