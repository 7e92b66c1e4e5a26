"""The rules held to their laws by chance: time is never made, versions rise by one, expiry is found in any order."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.contracts.timers import CreateSession, Mode, Participant, Switch, check
from relay.timers import expiry, rules
from relay.timers.plans import begin
from relay.timers.states import (
    Changed,
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
    running_clock,
    used_ms,
)

T0 = 1_760_970_600_000
ACTIONS = (
    {"type": "end_session", "outcome": "timeout"},
    {"type": "skip_cycle"},
    {"type": "skip_cycle", "penalty": 1500},
    {"type": "auto_action"},
    {"type": "auto_action", "action": "pause"},
    {"type": "auto_action", "action": "complete"},
    {"type": "notify"},
    {"type": "ring_a_bell", "loud": True},
    None,
)


def chess(**other: object) -> CreateSession:
    players = [Participant(f"p{k}", k, 600_000) for k in (1, 2)]
    whole = {"session_id": "s", "sync_mode": Mode.PER_PARTICIPANT, "participants": players, "increment_ms": 3000}
    return CreateSession(**{**whole, **other})  # type: ignore[arg-type]


@st.composite
def requests(draw: st.DrawFn) -> CreateSession:
    mode = draw(st.sampled_from(Mode))
    count = draw(st.integers(0 if mode in (Mode.GLOBAL, Mode.COUNT_UP) else 1, 4))
    times = st.integers(1000, 30_000)
    group_times = {"red": draw(times), "blue": draw(times)}
    players = []
    for k in range(count):
        group = draw(st.sampled_from(["red", "blue"])) if mode is Mode.PER_GROUP else None
        players.append(Participant(f"p{k}", None, group_times[group] if group else draw(times), group))
    return check(
        CreateSession(
            "s",
            mode,
            players,
            total_time_ms=draw(times) if mode is Mode.GLOBAL else None,
            time_per_cycle_ms=draw(times) if mode is Mode.PER_CYCLE else None,
            max_time_ms=draw(st.none() | times) if mode is Mode.COUNT_UP else None,
            increment_ms=draw(st.integers(0, 5000)),
            auto_advance=draw(st.booleans()),
            action_on_timeout=draw(st.sampled_from(ACTIONS)),
        )
    )


class Sessions(RuleBasedStateMachine):
    """One session under random commands at random moments; `budget` is what could ever be on its clocks."""

    @initialize(request=requests())
    def begin(self, request: CreateSession) -> None:
        self.now = T0
        self.state = begin(request, self.now)
        self.budget = sum(self.state.clocks)

    def step(self, step: Step) -> None:
        """Takes a step that must be lawful: one version a change, in order."""
        changes = sum(isinstance(event, Changed) for event in step.events)
        assert step.state.version == self.state.version + changes
        self.state = step.state

    def settle(self) -> None:
        before = self.state
        step = expiry.settle(before, self.now)
        moments = [event.at_ms for event in step.events if not isinstance(event, Changed)]
        assert moments == sorted(moments)
        assert all(at <= self.now for at in moments)
        if self.state.plan.mode is Mode.PER_CYCLE:
            turns = sum(isinstance(event, TimeExpired) for event in step.events)
            self.budget += turns * (self.state.plan.time_per_cycle_ms or 0)
            self.budget += step.state.used_ms - before.used_ms
        self.step(step)

    @rule(wait=st.integers(0, 12_000))
    def pass_time(self, wait: int) -> None:
        self.now += wait

    @rule(wait=st.integers(0, 12_000))
    def pass_time_and_look(self, wait: int) -> None:
        self.now += wait
        self.settle()

    @rule()
    def to_the_very_deadline(self) -> None:
        due = deadline_ms(self.state)
        if due is not None and due >= self.now:
            self.now = due
            self.settle()
            assert deadline_ms(self.state) is None or deadline_ms(self.state) >= self.now

    def ask(self, wanted: object, *words: object) -> bool:
        """A command as the service gives it: settled first. A refusal changes nothing."""
        self.settle()
        before = self.state
        try:
            step: Step = wanted(self.state, *words, self.now)  # type: ignore[operator]
        except Refused:
            assert self.state is before
            return False
        self.step(step)
        return True

    @rule()
    def start(self) -> None:
        pending = self.state.status is Status.PENDING
        assert self.ask(rules.start) is pending

    @rule(wait=st.integers(0, 3000), named=st.booleans(), lag=st.integers(0, 900))
    def switch(self, wait: int, named: bool, lag: int) -> None:
        self.now += wait
        self.settle()
        running = self.state.status is Status.RUNNING and bool(self.state.players)
        current = active_id(self.state) if named else None
        assert self.ask(rules.switch, Switch(current, lag_ms=lag)) is running
        if running:
            self.budget += self.state.plan.increment_ms
            self.budget += self.state.plan.time_per_cycle_ms or 0

    @rule()
    def switch_by_somebody_else(self) -> None:
        assert not self.ask(rules.switch, Switch("nobody"))
        assert not self.ask(rules.switch, Switch(None, "nobody"))

    @rule()
    def pause(self) -> None:
        self.settle()
        running = self.state.status is Status.RUNNING
        assert self.ask(rules.pause) is running

    @rule()
    def resume(self) -> None:
        self.settle()
        paused = self.state.status is Status.PAUSED
        before = [left_ms(self.state, k, self.now) for k in range(len(self.state.clocks))]
        assert self.ask(rules.resume) is paused
        assert [left_ms(self.state, k, self.now) for k in range(len(self.state.clocks))] == before

    @rule(time=st.integers(1000, 20_000), who=st.integers(0, 5))
    def adjust(self, time: int, who: int) -> None:
        if self.ask(rules.update_time, f"p{who}", time):
            self.budget += time

    @precondition(lambda self: len(self.state.players) < 6)
    @rule(time=st.integers(1000, 20_000))
    def join(self, time: int) -> None:
        name = f"p{len(self.state.players)}"
        if self.ask(rules.add, Player(name, -1, group="red"), time) and self.state.plan.mode is Mode.PER_PARTICIPANT:
            self.budget += time

    @rule()
    def stored_and_read_again(self) -> None:
        again = msgspec.json.decode(msgspec.json.encode(self.state), type=State)
        assert again == self.state
        self.state = again

    @invariant()
    def time_is_never_made(self) -> None:
        left = [left_ms(self.state, k, self.now) for k in range(len(self.state.clocks))]
        assert all(one >= 0 for one in left)
        assert sum(left) + used_ms(self.state, self.now) <= self.budget

    @invariant()
    def who_plays_has_used_what_was_used(self) -> None:
        if self.state.players and self.state.plan.mode not in (Mode.GLOBAL, Mode.COUNT_UP):
            assert sum(player.used_ms for player in self.state.players) == self.state.used_ms

    @invariant()
    def only_a_running_session_has_a_running_clock(self) -> None:
        assert (running_clock(self.state) is not None) is (self.state.status is Status.RUNNING)


TestSessions = Sessions.TestCase
TestSessions.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


@given(request=requests(), cuts=st.lists(st.integers(0, 90_000), max_size=12))
def test_it_does_not_matter_who_looks_when(request: CreateSession, cuts: list[int]) -> None:
    once = rules.start(begin(request, T0), T0).state
    often, heard = once, []
    for cut in sorted(cuts):
        often, events = expiry.settle(often, T0 + cut)
        heard += events
    end = T0 + 90_000
    often, events = expiry.settle(often, end)
    late = expiry.settle(once, end)
    players = (often.active, often.status, often.expired_by, often.expired_ms)
    assert players == (late.state.active, late.state.status, late.state.expired_by, late.state.expired_ms)
    for clock in range(len(often.clocks)):
        assert left_ms(often, clock, end) == left_ms(late.state, clock, end)
    assert used_ms(often, end) == used_ms(late.state, end)


def test_the_documents_chess_numbers() -> None:
    state = rules.start(begin(chess(active_participant_id="p1"), T0), T0).state
    state = rules.switch(state, Switch("p1", "p2"), T0 + 5000).state
    assert (state.clocks, active_id(state), state.version) == ((598_000, 600_000), "p2", 3)


def test_an_increment_is_not_for_the_expired() -> None:
    action = {"type": "notify"}
    state = rules.start(begin(chess(action_on_timeout=action), T0), T0).state
    state = expiry.settle(state, T0 + 600_000).state
    assert (state.status, state.players[0].expired) == (Status.RUNNING, True)
    assert rules.switch(state, Switch(), T0 + 601_000).state.clocks == (0, 600_000)


def test_a_winner_is_the_other_of_two_and_no_one_of_three() -> None:
    state, events = expiry.settle(rules.start(begin(chess(), T0), T0).state, T0 + 600_000)
    assert state.applied == {"type": "end_session", "outcome": "timeout", "winner": "p2"}
    three = [Participant(f"p{k}", k, 600_000) for k in (1, 2, 3)]
    state, events = expiry.settle(rules.start(begin(chess(participants=three), T0), T0).state, T0 + 600_000)
    assert state.applied == {"type": "end_session", "outcome": "timeout"}
    assert [type(event) for event in events] == [TimeWarning, TimeWarning, TimeExpired, Changed]


def test_warnings_once_a_turn_at_their_moment() -> None:
    state = rules.start(begin(chess(increment_ms=0), T0), T0).state
    state, events = expiry.settle(state, T0 + 592_000)
    assert events == (TimeWarning("p1", 10_000, "low", T0 + 590_000),)
    state = rules.resume(rules.pause(state, T0 + 592_000).state, T0 + 700_000).state
    state, events = expiry.settle(state, T0 + 703_000)
    assert events == (TimeWarning("p1", 5_000, "critical", T0 + 703_000),)


def test_days_of_turns_are_found_at_once() -> None:
    people = [Participant("a"), Participant("b"), Participant("c")]
    request = CreateSession("s", Mode.PER_CYCLE, people, time_per_cycle_ms=1000, auto_advance=True)
    state = rules.start(begin(request, T0), T0).state
    state, events = expiry.settle(state, T0 + 30 * 86_400_000 + 1500)
    assert (active_id(state), len(events) < 30) == ("b", True)
    assert left_ms(state, 0, T0 + 30 * 86_400_000 + 1500) == 500


@pytest.mark.parametrize("times", [(1,), (3, 2), (1, 2, 3)])
def test_a_credit_for_lag_is_capped_and_regains(times: tuple[int, ...]) -> None:
    state = begin(check(chess(increment_ms=0)), T0)
    assert state.plan.lag is None
    request = msgspec.json.decode(
        msgspec.json.encode({**msgspec.to_builtins(chess(increment_ms=0)), "lag_compensation": {}}), type=CreateSession
    )
    state, now, given = rules.start(begin(request, T0), T0).state, T0, 0
    quota = 500
    for lag in (400 * time for time in times):
        now += 2000
        credit = min(lag, quota)
        quota, given = min(500, quota - credit + 100), given + credit
        state = rules.switch(state, Switch("p1", lag_ms=lag), now).state
        state = rules.switch(state, Switch("p2"), now).state
    assert state.clocks[0] == 600_000 - 2000 * len(times) + given
