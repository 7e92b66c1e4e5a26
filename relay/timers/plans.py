"""From a request to the first state: the participants, their clocks and times. Pure."""

from __future__ import annotations

from core.contracts.errors import InvalidMessage
from core.contracts.timers import AddParticipant, CreateSession, Group, Mode, Participant, Thresholds
from relay.timers.states import UNLIMITED_MS, Plan, Player, State, Status


def begin(request: CreateSession, now_ms: int) -> State:
    """The pending session that a checked request asks for. InvalidMessage when its active participant is unknown."""
    groups = _groups(request)
    people = _placed(request.participants or _from_groups(request.groups))
    home = {member: group.group_id for group in request.groups for member in group.members}
    players = tuple(
        _player(request, place, index, one, one.group_id or home.get(one.participant_id), list(groups))
        for place, (index, one) in enumerate(people)
    )
    known = {player.id for player in players}
    if request.active_participant_id is not None and request.active_participant_id not in known:
        raise InvalidMessage("Expected one of the participants - at `$.active_participant_id`")
    plan = Plan(
        session_id=request.session_id,
        mode=request.sync_mode,
        created_ms=now_ms,
        first=request.active_participant_id,
        increment_ms=request.increment_ms,
        time_per_cycle_ms=request.time_per_cycle_ms,
        max_time_ms=request.max_time_ms,
        auto_advance=request.auto_advance,
        action=request.action_on_timeout,
        warnings=_warnings(request.warning_thresholds_ms),
        lag=request.lag_compensation,
        groups=tuple(groups),
        metadata=request.metadata,
    )
    clocks = _clocks(request, [one for _, one in people], groups)
    return State(plan, Status.PENDING, players, clocks, since_ms=now_ms, updated_ms=now_ms)


def newcomer(request: AddParticipant, state: State) -> Player:
    """A participant who joins later; index -1 means the end of the rotation."""
    index = -1 if request.participant_index is None else request.participant_index
    quota = state.plan.lag.quota_ms if state.plan.lag else 0
    return Player(request.participant_id, index, group=request.group_id, quota_ms=quota)


def _warnings(said: Thresholds) -> tuple[tuple[str, int], ...]:
    found = [(name, ms) for name, ms in (("low", said.low), ("critical", said.critical)) if ms > 0]
    return tuple(sorted(found, key=lambda pair: -pair[1]))


def _groups(request: CreateSession) -> dict[str, int]:
    """Each group's time, in the order in which the groups were named."""
    if request.sync_mode is not Mode.PER_GROUP:
        return {}
    if request.groups:
        return {group.group_id: group.total_time_ms for group in request.groups}
    times: dict[str, int] = {}
    for one in request.participants:
        if one.group_id is not None and one.total_time_ms is not None:
            times.setdefault(one.group_id, one.total_time_ms)
    return times


def _from_groups(groups: list[Group]) -> list[Participant]:
    """Where only groups were named: their members in turn, the first of each group, then the second, and so on."""
    rows = [(group.group_id, group.members or [group.group_id]) for group in groups]
    longest = max((len(members) for _, members in rows), default=0)
    return [
        Participant(members[turn], group_id=group)
        for turn in range(longest)
        for group, members in rows
        if turn < len(members)
    ]


def _placed(people: list[Participant]) -> list[tuple[int, Participant]]:
    """Everybody with an index, in the order of turns; those without one get the lowest free index."""
    taken = {one.participant_index for one in people}
    free = (index for index in range(len(people) * 2) if index not in taken)
    placed = [(next(free) if one.participant_index is None else one.participant_index, one) for one in people]
    return sorted(placed, key=lambda pair: pair[0])


def _player(
    request: CreateSession, place: int, index: int, one: Participant, group: str | None, groups: list[str]
) -> Player:
    clock = 0
    if request.sync_mode is Mode.PER_PARTICIPANT:
        clock = place
    elif request.sync_mode is Mode.PER_GROUP and group is not None:
        clock = groups.index(group)
    quota = request.lag_compensation.quota_ms if request.lag_compensation else 0
    return Player(one.participant_id, index, clock, group, quota_ms=quota)


def _clocks(request: CreateSession, people: list[Participant], groups: dict[str, int]) -> tuple[int, ...]:
    mode = request.sync_mode
    times = [one.total_time_ms for one in people if one.total_time_ms is not None]
    if mode is Mode.PER_PARTICIPANT:
        return tuple(times)
    if mode is Mode.PER_GROUP:
        return tuple(groups.values())
    if mode is Mode.PER_CYCLE:
        return (request.time_per_cycle_ms or 0,)
    if mode is Mode.GLOBAL:
        return (request.total_time_ms or times[0],)
    return (request.max_time_ms or UNLIMITED_MS,)
