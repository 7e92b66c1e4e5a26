"""What a socket of a timer session may ask, and the answers: the state, or the time. It changes nothing."""

from __future__ import annotations

from collections.abc import Callable

from core.contracts import timers
from core.contracts.errors import ContractError, InvalidMessage
from relay.errors import ParticipantNotFound, RelayError
from relay.rooms import Member
from relay.timers import views
from relay.timers.live import Live
from relay.timers.states import INVALID, State, position

Current = Callable[[], tuple[State, int]]
"""The state as of now, with everything due applied, and the time in ms."""


def answer_to(data: str | bytes, live: Live, member: Member, now_ms: Callable[[], int], current: Current) -> bytes:
    """The answer to one message; an invalid message is answered with the document's error body."""
    try:
        return _answer(timers.hear(data), live, member, now_ms, current)
    except ContractError as error:
        return views.error(INVALID, str(error))
    except RelayError as error:
        return views.error(error.code, str(error))


def _answer(said: timers.Said, live: Live, member: Member, now_ms: Callable[[], int], current: Current) -> bytes:
    if said.type == "PING":
        return timers.pong(said.timestamp, now_ms())
    if said.type == "RECONNECT":
        return timers.message("STATE_SYNC", views.whole(*current()))
    if said.type == "SUBSCRIBE_PARTICIPANT":
        return _subscribed(live, member, said.participant_id, *current())
    raise InvalidMessage(f"Expected PING, SUBSCRIBE_PARTICIPANT or RECONNECT, got {said.type[:64]!r} - at `$.type`")


def _subscribed(live: Live, member: Member, participant_id: str | None, state: State, now_ms: int) -> bytes:
    if participant_id is None:
        raise InvalidMessage("Expected whom to hear of - at `$.participant_id`")
    index = position(state, participant_id)
    if index < 0:
        raise ParticipantNotFound(f"No participant {participant_id[:128]!r} in this session.")
    live.narrow(member, participant_id)
    seat = views.participants(state, now_ms)[index]
    return timers.message("SUBSCRIBED", {"session_id": live.id, **seat, "server_time_ms": now_ms})
