"""States as the document shows them. All times in an answer are as of the `server_time` in that answer. Pure."""

from __future__ import annotations

from typing import Any

from core.contracts import timers
from core.contracts.scg import iso
from core.contracts.timers import Mode
from relay.timers.states import (
    Player,
    State,
    Status,
    TimeExpired,
    TimeWarning,
    active_id,
    left_ms,
    used_ms,
)

Body = dict[str, Any]
_PLAYING = (Status.RUNNING, Status.PAUSED)


def participants(state: State, now_ms: int) -> list[Body]:
    """Everybody in the order of turns, with what their clock shows."""
    left = [left_ms(state, clock, now_ms) for clock in range(len(state.clocks))]
    active = state.active if state.status in _PLAYING else -1
    return [
        _participant(state, player, left, now_ms, active=index == active, current=index == state.active)
        for index, player in enumerate(state.players)
    ]


def _participant(state: State, player: Player, left: list[int], now_ms: int, *, active: bool, current: bool) -> Body:
    mode, plan = state.plan.mode, state.plan
    used = player.used_ms
    if current and state.status is Status.RUNNING:
        used += used_ms(state, now_ms) - state.used_ms
    total = left[player.clock]
    if mode is Mode.COUNT_UP:
        total = used
    elif mode is Mode.PER_CYCLE and not current and plan.time_per_cycle_ms is not None:
        total = max(plan.time_per_cycle_ms - player.penalty_ms, timers.MIN_TIME_MS)
    body = {
        "participant_id": player.id,
        "participant_index": player.index,
        "total_time_ms": total,
        "time_used_ms": used,
        "is_active": active,
        "has_expired": player.expired,
    }
    if player.group is not None:
        body["group_id"] = player.group
    return body


def _clock_wide(state: State, now_ms: int) -> Body:
    """The fields of the session's only clock, or of its groups' clocks."""
    mode, plan = state.plan.mode, state.plan
    if mode is Mode.COUNT_UP:
        return {"total_time_ms": used_ms(state, now_ms), "max_time_ms": plan.max_time_ms}
    if mode is Mode.GLOBAL:
        return {"total_time_ms": left_ms(state, 0, now_ms)}
    if mode is Mode.PER_CYCLE:
        return {"time_per_cycle_ms": plan.time_per_cycle_ms}
    if mode is Mode.PER_GROUP:
        active = state.players[state.active].group if state.active >= 0 and state.status in _PLAYING else None
        return {
            "groups": [
                {"group_id": name, "total_time_ms": left_ms(state, clock, now_ms), "is_active": name == active}
                for clock, name in enumerate(plan.groups)
            ]
        }
    return {}


def _ended(state: State) -> Body:
    """When and how the session was paused, expired or was completed."""
    body: Body = {}
    if state.paused_ms is not None:
        body["paused_at"] = iso(state.paused_ms)
    if state.completed_ms is not None:
        body["completed_at"] = iso(state.completed_ms)
    if state.expired_ms is not None:
        body |= {"expired_at": iso(state.expired_ms), "expired_participant_id": state.expired_by}
        body["action_applied"] = state.applied
    return body


def _moment(state: State, now_ms: int) -> Body:
    return {"version": state.version, "server_time": iso(now_ms)}


def cycle_started_at(state: State) -> str | None:
    return None if state.cycle_ms is None else iso(state.cycle_ms)


def _active(state: State) -> str | None:
    return active_id(state) if state.status in _PLAYING else None


def whole(state: State, now_ms: int) -> Body:
    """The answer of Get Session State, and the payload of STATE_SYNC."""
    plan = state.plan
    body = {
        "session_id": plan.session_id,
        "sync_mode": plan.mode,
        "status": state.status,
        "active_participant_id": _active(state),
        "cycle_started_at": cycle_started_at(state),
        "participants": participants(state, now_ms),
        **_clock_wide(state, now_ms),
        "time_used_ms": used_ms(state, now_ms),
        **_ended(state),
        "increment_ms": plan.increment_ms,
        "auto_advance": plan.auto_advance,
        "action_on_timeout": plan.action,
        "warning_thresholds_ms": dict(plan.warnings),
        "created_at": iso(plan.created_ms),
        **_moment(state, now_ms),
        "server_time_ms": now_ms,
    }
    if plan.metadata is not None:
        body["metadata"] = plan.metadata
    return body


def created(state: State, now_ms: int) -> Body:
    keys = ("session_id", "sync_mode", "status", "participants", "groups", "total_time_ms", "version", "created_at")
    found = whole(state, now_ms)
    return {key: found[key] for key in keys if key in found} | {"server_time": found["server_time"]}


def began(state: State, now_ms: int) -> Body:
    """The answer of Start and Resume."""
    return {
        "session_id": state.plan.session_id,
        "status": state.status,
        "cycle_started_at": cycle_started_at(state),
        "active_participant_id": _active(state),
        **_moment(state, now_ms),
    }


def switched(state: State, now_ms: int, seats: list[Body] | None = None) -> Body:
    """The answer of Switch Cycle: whose turn it is now or, after expiry, who ran out of time."""
    seats = participants(state, now_ms) if seats is None else seats
    if state.status is Status.EXPIRED:
        head = {"session_id": state.plan.session_id, "status": state.status}
        return head | _ended(state) | {"participants": seats} | _moment(state, now_ms)
    return {
        "session_id": state.plan.session_id,
        "active_participant_id": _active(state),
        "cycle_started_at": cycle_started_at(state),
        "participants": seats,
        "status": state.status,
        **_moment(state, now_ms),
    }


def ended(state: State, now_ms: int) -> Body:
    """The answer of Pause and Complete."""
    return {
        "session_id": state.plan.session_id,
        "status": state.status,
        **_ended(state),
        "participants": participants(state, now_ms),
        **_clock_wide(state, now_ms),
        **_moment(state, now_ms),
    }


def update(state: State, now_ms: int, seats: list[Body] | None = None, only: set[str] | None = None) -> bytes:
    """SESSION_UPDATE; with `only`, just these participants, for a socket that subscribed to some."""
    seats = participants(state, now_ms) if seats is None else seats
    if only is not None:
        seats = [seat for seat in seats if seat["participant_id"] in only]
    payload = {
        "session_id": state.plan.session_id,
        "active_participant_id": _active(state),
        "cycle_started_at": cycle_started_at(state),
        "participants": seats,
        "server_time_ms": now_ms,
        "status": state.status,
        "version": state.version,
        **_clock_wide(state, now_ms),
        **_ended(state),
    }
    return timers.message("SESSION_UPDATE", payload)


def warning(session_id: str, event: TimeWarning) -> bytes:
    payload = {
        "session_id": session_id,
        "participant_id": event.participant_id,
        "time_remaining_ms": event.remaining_ms,
        "threshold": event.threshold,
        "server_time_ms": event.at_ms,
    }
    return timers.message("TIME_WARNING", payload)


def expired(session_id: str, event: TimeExpired) -> bytes:
    payload = {
        "session_id": session_id,
        "expired_participant_id": event.participant_id,
        "action_applied": event.applied,
        "server_time_ms": event.at_ms,
    }
    return timers.message("TIME_EXPIRED", payload)


def deleted(session_id: str) -> bytes:
    return timers.message("SESSION_DELETED", {"session_id": session_id, "status": Status.CANCELLED})


def error(code: str, text: str) -> bytes:
    return timers.message("ERROR", {"code": code, "message": text})
