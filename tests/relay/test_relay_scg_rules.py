"""Presence, sequence numbers and rates: the pure rules of a heart session."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts.seq_ranges import SeqRanges
from relay.scg.rules import Part, Presence, delay_ms, rate_hz


@given(st.lists(st.integers(1, 60)))
def test_seq_ranges_are_the_set_they_stand_for(seqs: list[int]) -> None:
    ranges, model = SeqRanges(), set[int]()
    for seq in seqs:
        assert ranges.add(seq) is (seq not in model)
        model.add(seq)
    assert {n for start, end in ranges.ranges() for n in range(start, end + 1)} == model
    pairs = ranges.ranges()
    assert all(later[0] > earlier[1] + 1 for earlier, later in itertools.pairwise(pairs))
    assert all((n in ranges) is (n in model) for n in range(62))
    assert SeqRanges(pairs) == ranges


def test_the_first_who_says_nothing_may_be_the_patient() -> None:
    presence = Presence()
    first, second = object(), object()
    assert presence.join(first, Part.UNKNOWN) is None
    assert presence.join(second, Part.UNKNOWN) == "viewer_connected"
    assert presence.viewer_count == 1
    assert presence.claim(first, Part.UNKNOWN)
    assert presence.viewer_count == 1
    assert not presence.claim(second, Part.UNKNOWN)
    assert presence.leave(first, Part.UNKNOWN) == "patient_disconnected"
    assert presence.viewer_count == 1


def test_a_patient_who_returns_with_its_boot_takes_its_place_over() -> None:
    presence = Presence()
    old, new, other = object(), object(), object()
    presence.join(old, Part.PATIENT)
    assert presence.claim(old, Part.PATIENT, "boot-1")
    presence.join(new, Part.PATIENT)
    presence.join(other, Part.UNKNOWN)
    assert not presence.claim(other, Part.UNKNOWN, "boot-2")
    assert presence.claim(new, Part.PATIENT, "boot-1")
    assert presence.leave(old, Part.PATIENT) == "viewer_disconnected"
    assert presence.viewer_count == 1
    assert presence.leave(new, Part.PATIENT) == "patient_disconnected"


def test_rate_leaves_gaps_out() -> None:
    t = np.concatenate([np.arange(100) * 10.05, 60_000 + np.arange(100) * 10.05])
    assert rate_hz(t) == pytest.approx(1000 / 10.05, rel=1e-6)
    assert rate_hz(np.array([5.0])) == 0.0
    assert rate_hz(np.repeat(np.arange(10) * 200.0, 20)) == pytest.approx(110, rel=0.02)


def test_delay_only_for_epoch_times() -> None:
    assert delay_ms(1_721_574_600_000.0, 1_721_574_600_250.0) == 250.0
    assert delay_ms(12_345.0, 1_721_574_600_250.0) is None
