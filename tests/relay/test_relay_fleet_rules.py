"""Who is in a rollout, when it halts, and what is said of a kit. Pure, so every case can be seen."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.contracts.fleet import Certified, Report, Updated, UpdateState, report
from relay.fleet import rules
from relay.fleet.rules import Kit, Progress, Rollout, RolloutState, Standing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NOW = 1_800_000_000_000
DAY = 86_400_000
KEYS = (
    "version",
    "session",
    "backlog",
    "sources",
    "machine",
    "outbox",
    "uplink",
    "packages",
    "configuration",
    "update",
    "certificate",
)


def rollout(percent: float = 100, **changes: Any) -> Rollout:
    given: dict[str, Any] = {"id": 1, "version": "1.1.0", "tag": "", "percent": percent, "state": RolloutState.RUNNING}
    return Rollout(**{**given, "created_ms": 0, **changes})


def kit(name: str = "home-1", version: str = "1.0.0", told: Updated | None = None, **changes: Any) -> Kit:
    return Kit(name, seen_ms=1, online=True, report=Report(version=version, update=told), **changes)


def test_widening_a_rollout_never_drops_a_kit() -> None:
    names = [f"home-{number}" for number in range(2000)]
    before: set[str] = set()
    for percent in (1, 10, 50, 100):
        within = {name for name in names if rules.concerns(rollout(percent), kit(name))}
        assert before <= within
        assert abs(len(within) / len(names) * 100 - percent) < 4
        before = within
    other = {name for name in names if rules.concerns(rollout(10, id=2), kit(name))}
    assert other != {name for name in names if rules.concerns(rollout(10), kit(name))}


def test_a_tag_narrows() -> None:
    assert rules.concerns(rollout(tag="pilot"), kit(tags=("pilot",)))
    assert not rules.concerns(rollout(tag="pilot"), kit(tags=("ward 3",)))


@pytest.mark.parametrize(
    ("one", "asked"),
    [
        (kit(), True),
        (kit(version="1.1.0"), False),
        (kit(version="1.2.0"), False),
        (kit(version="0+source"), True),
        (kit(version=""), False),
        (kit(told=Updated("1.1.0", UpdateState.ROLLED_BACK)), False),
        (kit(told=Updated("1.1.0", UpdateState.REFUSED)), False),
        (kit(told=Updated("1.1.0", UpdateState.FETCHING)), True),
        (kit(told=Updated("1.0.5", UpdateState.ROLLED_BACK)), True),
    ],
)
def test_who_is_asked(one: Kit, asked: bool) -> None:
    assert (rules.wanted([rollout()], one) is not None) is asked


@pytest.mark.parametrize("state", [RolloutState.PAUSED, RolloutState.HALTED])
def test_a_rollout_that_does_not_run_asks_nobody(state: RolloutState) -> None:
    assert rules.wanted([rollout(state=state)], kit()) is None


def test_the_newest_version_is_the_one_wanted() -> None:
    found = rules.wanted([rollout(), rollout(id=2, version="1.10.0"), rollout(id=3, version="1.9.0")], kit())
    assert found is not None
    assert found.version == "1.10.0"


@pytest.mark.parametrize(
    ("members", "failed", "most", "halts"),
    [(1, 1, 5, True), (10, 1, 5, True), (20, 1, 5, False), (20, 2, 5, True), (100, 0, 0, False), (100, 1, 0, True)],
)
def test_when_it_halts(members: int, failed: int, most: float, halts: bool) -> None:
    assert rules.must_halt(rollout(most_failed=most), Progress(members, 0, failed, 0)) is halts


def test_how_far_it_is() -> None:
    kits = [kit("a", "1.1.0"), kit("b"), kit("c", told=Updated("1.1.0", UpdateState.ROLLED_BACK)), Kit("never")]
    assert rules.progress(rollout(), kits) == Progress(3, 1, 1, 1)


def test_where_a_kit_stands() -> None:
    assert rules.standing(Kit("new"), NOW) is Standing.NEW
    assert rules.standing(Kit("away", seen_ms=1, online=False, report=Report()), NOW) is Standing.AWAY
    assert rules.standing(Kit("live", seen_ms=1, online=True, report=Report()), NOW) is Standing.LIVE
    assert rules.standing(Kit("hot", seen_ms=1, online=True, report=Report(temperature=85)), NOW) is Standing.ATTENTION


@pytest.mark.parametrize(
    ("ends_in", "renewed_in", "said"),
    [
        (90, 60, ""),
        (30, 0, ""),
        (22.6, -7.4, ""),
        (22, -8, "Certificate ends in 22 days"),
        (1.5, -28.5, "Certificate ends in 1 day"),
        (0.5, -29.5, "Certificate ends in less than a day"),
        (-3, -33, "Certificate ended 3 days ago"),
    ],
)
@pytest.mark.parametrize("online", [True, False])
def test_a_certificate_that_is_not_renewed_is_warned_of(
    ends_in: float, renewed_in: float, said: str, online: bool
) -> None:
    held = Certified(int(NOW + ends_in * DAY), int(NOW + renewed_in * DAY))
    one = Kit("x", seen_ms=1, online=online, report=Report(certificate=held))
    assert rules.problems(one, NOW) == ([said] if said else [])
    why = Report(certificate=Certified(held.ends_ms, held.renew_ms, "no room"))
    found = rules.problems(Kit("x", seen_ms=1, online=online, report=why), NOW)
    assert found == ([f"{said}: no room"] if said else [])


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(KEYS), JSON))
def test_any_status_makes_a_report(payload: dict[str, Any]) -> None:
    found = report(payload)
    assert isinstance(rules.problems(Kit("x", seen_ms=1, online=True, report=found), NOW), list)


def test_tags_are_kept_sorted_once_and_bounded() -> None:
    assert rules.valid_tags(["b", "a", "b"]) == ("a", "b")
    for bad in (["<x>"], ["a" * 65], [""], [f"t{number}" for number in range(21)]):
        with pytest.raises(ValueError, match=r"tag"):
            rules.valid_tags(bad)
