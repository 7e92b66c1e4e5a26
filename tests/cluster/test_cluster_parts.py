"""The cluster's small parts: whose turn it is, subjects, addresses, and who is in a room elsewhere."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.js.api import ClusterInfo, PeerInfo

from core.contracts.topics import FROM_KITS, Lane
from relay.cluster import subjects
from relay.cluster.bus import has_majority
from relay.cluster.link import is_cluster, servers
from relay.cluster.ranks import GONE_AFTER_MS, Roll
from relay.errors import SettingsError
from relay.scg.rules import Elsewhere, Part, Presence

names = st.lists(st.text("abcdef0123456789", min_size=1, max_size=8), min_size=1, max_size=6, unique=True)


def rolls(relays: list[str]) -> dict[str, Roll]:
    return {own: Roll(own, {other: 0.0 for other in relays if other != own}) for own in relays}


@given(names, st.text(max_size=20))
def test_every_relay_has_a_rank_of_its_own(relays: list[str], key: str) -> None:
    assert sorted(roll.rank(key) for roll in rolls(relays).values()) == list(range(len(relays)))


@given(names.filter(lambda relays: len(relays) > 1), st.text(max_size=20))
def test_when_one_goes_only_those_behind_it_move_up(relays: list[str], key: str) -> None:
    before = {own: roll.rank(key) for own, roll in rolls(relays).items()}
    gone = relays[0]
    after = {own: roll.rank(key) for own, roll in rolls(relays[1:]).items()}
    assert all(after[own] == before[own] - (before[own] > before[gone]) for own in after)


def test_turns_are_shared_out_evenly() -> None:
    found = rolls(["one", "two", "three"])
    firsts = [sum(roll.rank(f"part-{part}") == 0 for part in range(3000)) for roll in found.values()]
    assert sum(firsts) == 3000
    assert all(abs(first - 1000) < 150 for first in firsts)


def test_a_silent_relay_is_struck_off_once() -> None:
    roll = Roll("own")
    assert roll.heard("other", 0.0)
    assert not roll.heard("other", 250.0)
    assert roll.gone(250.0 + GONE_AFTER_MS) == []
    assert roll.gone(251.0 + GONE_AFTER_MS) == ["other"]
    assert roll.gone(9e9) == []
    assert roll.present == ["own"]


def test_every_lane_upwards_is_mapped_and_parsed_again() -> None:
    assert len(subjects.mappings(8)) == len(FROM_KITS)
    for source, target in subjects.mappings(8).items():
        lane = Lane(source.rsplit(".", 1)[1])
        subject = target.replace("{{partition(8,1)}}", "5").replace("{{wildcard(1)}}", "bedside-01")
        assert subjects.parse_ingest(subject) == (5, ("bedside-01", lane))


@pytest.mark.parametrize(
    "subject", ["homeside.ingest.x.kit.live", "homeside.ingest.1.kit.up", "homeside.v1.kit.live", ""]
)
def test_other_subjects_are_none_of_ours(subject: str) -> None:
    assert subjects.parse_ingest(subject) is None


def test_one_url_names_all_servers() -> None:
    assert servers("nats://u:p@a:4222,b:4223/") == ["nats://u:p@a:4222", "nats://u:p@b:4223"]
    assert is_cluster("tls://a:4222")
    assert not is_cluster("mqtt://a")
    with pytest.raises(SettingsError, match="nats://"):
        servers("nats://")


def test_viewers_and_patients_elsewhere_count() -> None:
    presence = Presence()
    assert presence.join(object(), Part.VIEWER) == "viewer_connected"
    assert presence.heard("other", Elsewhere(viewers=2)) == ["viewer_connected"]
    assert presence.viewer_count == 3
    assert presence.heard("other", Elsewhere(viewers=1, patient=True, boot="b")) == [
        "patient_connected",
        "viewer_disconnected",
    ]
    assert not presence.claim(object(), Part.UNKNOWN, "another")
    assert presence.claim(object(), Part.UNKNOWN, "b")
    assert presence.heard("other", None) == ["viewer_disconnected"]
    assert presence.viewer_count == 1


@given(st.permutations(["a", "b", "c"]))
def test_the_order_in_which_relays_speak_does_not_matter(order: list[str]) -> None:
    presence = Presence()
    for relay in itertools.chain(order, order):
        presence.heard(relay, Elsewhere(viewers=1))
    assert presence.viewer_count == 3


@pytest.mark.parametrize(
    ("heard_s_ago", "well"), [([], True), ([0.1, 0.9], True), ([0.1, 20.0], True), ([6.0, 20.0], False)]
)
def test_a_leader_alone_has_no_majority(heard_s_ago: list[float], well: bool) -> None:
    copies = [PeerInfo(name=f"n{n}", offline=False, active=int(ago * 1e9)) for n, ago in enumerate(heard_s_ago)]
    assert has_majority(ClusterInfo(leader="n", replicas=copies)) is well
