"""SyncKairos 2.0 as models: the requests of clients of a timer session, and their bounds.

Ids are any text of 1 to 128 characters. Times are whole milliseconds. Errors give the path of the field
(`$.participants[1].total_time_ms`); unknown keys are ignored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import msgspec

from core.contracts.errors import InvalidMessage, MalformedMessage
from core.contracts.numbers import decoded
from core.contracts.text import NO_NUL

MIN_TIME_MS, MAX_TIME_MS = 1_000, 86_400_000
MAX_INCREMENT_MS = 60_000
MAX_PARTICIPANTS = 1_000
MAX_METADATA_BYTES = 10_240
MAX_LAG_MS = 5_000

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=NO_NUL)]
TimeMs = Annotated[int, msgspec.Meta(ge=MIN_TIME_MS, le=MAX_TIME_MS)]
LagMs = Annotated[int, msgspec.Meta(ge=0, le=MAX_LAG_MS)]
ThresholdMs = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]
Version = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Reason = Annotated[str, msgspec.Meta(max_length=1_000, pattern=NO_NUL)]
_T = TypeVar("_T")


class Mode(StrEnum):
    """How the time is divided."""

    PER_PARTICIPANT = "per_participant"
    PER_CYCLE = "per_cycle"
    PER_GROUP = "per_group"
    GLOBAL = "global"
    COUNT_UP = "count_up"


class Participant(msgspec.Struct, frozen=True):
    """A participant who takes turns. The index defaults to its place in the list; `group_id` is for `per_group`."""

    participant_id: Id
    participant_index: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | None = None
    total_time_ms: TimeMs | None = None
    group_id: Id | None = None


class Group(msgspec.Struct, frozen=True):
    """Participants who share a clock. A group without members takes turns itself, under its own id."""

    group_id: Id
    total_time_ms: TimeMs
    members: list[Id] = []


class Thresholds(msgspec.Struct, frozen=True):
    """Remaining times in ms at which TIME_WARNING is sent; 0 turns a warning off."""

    low: ThresholdMs = 10_000
    critical: ThresholdMs = 5_000


class Lag(msgspec.Struct, frozen=True):
    """Lag compensation: per move, at most `most_ms` and what is left of `quota_ms`, which regains
    `regain_ms` per move.
    """

    quota_ms: LagMs = 500
    regain_ms: LagMs = 100
    most_ms: LagMs = 500


class CreateSession(msgspec.Struct, frozen=True):
    """Body of Create Session. `action_on_timeout` keeps all keys it was sent with."""

    session_id: Id
    sync_mode: Mode
    participants: Annotated[list[Participant], msgspec.Meta(max_length=MAX_PARTICIPANTS)] = []
    groups: Annotated[list[Group], msgspec.Meta(max_length=MAX_PARTICIPANTS)] = []
    total_time_ms: TimeMs | None = None
    time_per_cycle_ms: TimeMs | None = None
    max_time_ms: TimeMs | None = None
    increment_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_INCREMENT_MS)] = 0
    active_participant_id: Id | None = None
    auto_advance: bool = False
    action_on_timeout: dict[str, Any] | None = None
    warning_thresholds_ms: Thresholds = Thresholds()
    lag_compensation: Lag | None = None
    metadata: dict[str, Any] | None = None


class Switch(msgspec.Struct, frozen=True):
    """Body of Switch Cycle; every key is optional. `lag_ms` counts only if the session compensates lag."""

    current_participant_id: Id | None = None
    next_participant_id: Id | None = None
    expected_version: Version | None = None
    lag_ms: Annotated[int, msgspec.Meta(ge=0)] = 0


class Expectation(msgspec.Struct, frozen=True):
    """Body of the requests that need none; they may still give the version they expect."""

    expected_version: Version | None = None


class AddParticipant(Participant, frozen=True):
    expected_version: Version | None = None


class UpdateTime(msgspec.Struct, frozen=True):
    """Body of Update Participant Time."""

    total_time_ms: TimeMs
    reason: Reason | None = None
    expected_version: Version | None = None


class Said(msgspec.Struct, frozen=True):
    """A WebSocket message. The document puts the fields beside `type`; fields inside a `payload` are
    accepted as well.
    """

    type: str
    timestamp: int | float | None = None
    participant_id: str | None = None
    last_known_version: int | None = None
    payload: dict[str, Any] | None = None


def decode(body: bytes, kind: type[_T]) -> _T:
    """Decode a request's body; an empty one counts as `{}`.

    Raises MalformedMessage, or InvalidMessage naming the field.
    """
    try:
        return decoded(body or b"{}", kind)
    except msgspec.ValidationError as error:
        raise InvalidMessage(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"not JSON: {error}") from None


def check(request: CreateSession) -> CreateSession:
    """Check fields against each other. Raises InvalidMessage, which names those that contradict."""
    if "/" in request.session_id or request.session_id in (".", ".."):
        raise InvalidMessage("Expected an id that can stand in a path, without '/' - at `$.session_id`")
    _check_mode(request)
    _check_participants(request)
    _check_action(request.action_on_timeout)
    if len(msgspec.json.encode(request.metadata)) > MAX_METADATA_BYTES:
        raise InvalidMessage(f"Expected at most {MAX_METADATA_BYTES} bytes of JSON - at `$.metadata`")
    return request


def _check_mode(request: CreateSession) -> None:
    mode = request.sync_mode
    if mode is Mode.PER_CYCLE and request.time_per_cycle_ms is None:
        raise InvalidMessage("per_cycle needs the length of a turn - at `$.time_per_cycle_ms`")
    if mode is Mode.PER_GROUP and not request.groups and any(p.group_id is None for p in request.participants):
        raise InvalidMessage("per_group needs `groups`, or a `group_id` on every participant - at `$.groups`")
    if mode is Mode.GLOBAL and request.total_time_ms is None and not any(p.total_time_ms for p in request.participants):
        raise InvalidMessage("global needs the time on its one clock - at `$.total_time_ms`")


def _check_participants(request: CreateSession) -> None:
    participants, groups, mode = request.participants, request.groups, request.sync_mode
    grouped = mode is Mode.PER_GROUP and groups
    if not participants and not grouped and mode not in (Mode.GLOBAL, Mode.COUNT_UP):
        raise InvalidMessage(f"Expected 1 to {MAX_PARTICIPANTS} participants - at `$.participants`")
    if sum(max(len(group.members), 1) for group in groups) > MAX_PARTICIPANTS:
        raise InvalidMessage(f"Expected at most {MAX_PARTICIPANTS} members - at `$.groups`")
    _unique((p.participant_id for p in participants), "$.participants", "participant_id")
    _unique((p.participant_index for p in participants), "$.participants", "participant_index")
    _unique((group.group_id for group in groups), "$.groups", "group_id")
    _unique((one for group in groups for one in group.members), "$.groups", "member")
    for index, one in enumerate(participants):
        if mode is Mode.PER_PARTICIPANT and one.total_time_ms is None:
            raise InvalidMessage(f"per_participant needs everyone's time - at `$.participants[{index}].total_time_ms`")
    if mode is Mode.PER_GROUP:
        _check_groups(request)


def _check_groups(request: CreateSession) -> None:
    """Every participant has a group; in groups without a time of their own, all members give the same time."""
    known = {group.group_id for group in request.groups}
    members = {one for group in request.groups for one in group.members}
    times: dict[str, int] = {}
    for index, one in enumerate(request.participants):
        where = f"$.participants[{index}]"
        if one.group_id is None and one.participant_id not in members:
            raise InvalidMessage(f"No group has this participant - at `{where}.group_id`")
        if known and one.group_id is not None and one.group_id not in known:
            raise InvalidMessage(f"No such group in `groups` - at `{where}.group_id`")
        if not known and one.group_id is not None:
            said = one.total_time_ms or times.get(one.group_id)
            if said is None or times.setdefault(one.group_id, said) != said:
                raise InvalidMessage(f"A group has one time, said by its first member - at `{where}.total_time_ms`")


def _check_action(action: dict[str, Any] | None) -> None:
    if action is not None and not (isinstance(action.get("type"), str) and action["type"]):
        raise InvalidMessage("Expected what to do, such as end_session - at `$.action_on_timeout.type`")
    if len(msgspec.json.encode(action)) > MAX_METADATA_BYTES:
        raise InvalidMessage(f"Expected at most {MAX_METADATA_BYTES} bytes of JSON - at `$.action_on_timeout`")


def _unique(names: Iterable[object], where: str, what: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1 and name is not None]
    if twice:
        raise InvalidMessage(f"Expected every {what} once, got {twice[0]!r} again - at `{where}`")


def hear(data: bytes | str) -> Said:
    """Decode a WebSocket message, with the fields of its `payload` moved beside `type`. Raises like `decode`."""
    said = decode(data.encode() if isinstance(data, str) else data, Said)
    if said.payload is None:
        return said
    try:
        return msgspec.convert({**said.payload, "type": said.type, "payload": None}, Said)
    except msgspec.ValidationError as error:
        raise InvalidMessage(str(error)) from None


def message(kind: str, payload: dict[str, Any]) -> bytes:
    """An event for a WebSocket, wrapped as in the document."""
    return msgspec.json.encode({"type": kind, "payload": payload})


def pong(client_timestamp: float | None, server_timestamp: int) -> bytes:
    """The answer to PING; as in the document, its fields stand beside `type`."""
    return msgspec.json.encode(
        {"type": "PONG", "client_timestamp": client_timestamp, "server_timestamp": server_timestamp}
    )
