"""The checkers of the fault runs, shown what is wrong: a checker that cannot fail checks nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.loading.checking import Verdict
from provisioning.loading.kits import curve
from tests.cluster.linearizability import Operation, first_fault

read, swap = "read", "swap"

GOOD = {
    "one after another": [Operation(swap, 1, 0, 1), Operation(read, 2, 2, 3), Operation(swap, 2, 4, 5)],
    "a read during a swap may see either": [
        Operation(swap, 1, 0, 10),
        Operation(read, 1, 1, 2),
        Operation(read, 2, 3, 4),
    ],
    "of two swaps at once one wins": [Operation(swap, 1, 0, 5), Operation(swap, 1, 1, 6, "refused")],
    "an unknown one took effect": [Operation(swap, 1, 0, 1, "unknown"), Operation(read, 2, 5, 6)],
    "an unknown one took effect much later": [
        Operation(swap, 1, 0, 1, "unknown"),
        Operation(read, 1, 5, 6),
        Operation(read, 2, 7, 8),
    ],
    "an unknown one never took effect": [Operation(swap, 1, 0, 1, "unknown"), Operation(swap, 1, 5, 6)],
}
BAD = {
    "a stale read": [Operation(swap, 1, 0, 1), Operation(read, 1, 2, 3)],
    "reads that go back": [Operation(swap, 1, 0, 9), Operation(read, 2, 1, 2), Operation(read, 1, 3, 4)],
    "both swaps won": [Operation(swap, 1, 0, 5), Operation(swap, 1, 1, 6)],
    "a lost update": [Operation(swap, 1, 0, 1), Operation(swap, 2, 2, 3), Operation(read, 2, 4, 5)],
    "refused although it was right": [Operation(swap, 1, 0, 1, "refused")],
    "a version from nowhere": [Operation(read, 2, 0, 1)],
    "an unknown one took effect twice": [
        Operation(swap, 1, 0, 1, "unknown"),
        Operation(read, 2, 2, 3),
        Operation(read, 3, 4, 5),
    ],
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_a_good_history_passes(history: list[Operation]) -> None:
    assert first_fault(history, 1) is None


@pytest.mark.parametrize("history", BAD.values(), ids=BAD)
def test_a_bad_history_is_found(history: list[Operation]) -> None:
    assert first_fault(history, 1) is not None


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5), st.booleans()), min_size=2, max_size=40), st.data())
def test_a_real_register_passes_and_a_broken_one_does_not(
    steps: list[tuple[float, float, bool]], data: st.DataObject
) -> None:
    """Each operation takes effect at a whole number, and lasts from some time before to some time after."""
    version, history = 1, []
    for number, (before, after, writes) in enumerate(steps):
        history.append(Operation(swap if writes else read, version, number - before, number + after))
        version += writes
    assert first_fault(history, 1) is None
    last = max(operation.ended for operation in history)
    stale = data.draw(st.integers(-3, 3).filter(lambda away: away != 0))
    assert first_fault([*history, Operation(read, version + stale, last + 1, last + 2)], 1) is not None


def samples(numbers: list[int]) -> list[list[float]]:
    return [[1000.0 + 10 * n, 0.0, 0.0, curve(n)] for n in numbers]


WHOLE = list(range(20))
RECORDINGS = {
    "good": (WHOLE, {}),
    "lost": ([n for n in WHOLE if n != 7], {"lost": 1}),
    "double": (sorted([*WHOLE, 3]), {"double": 1}),
    "disordered": ([*WHOLE[:5], 6, 5, *WHOLE[7:]], {"disordered": 1}),
}


@pytest.mark.parametrize(("numbers", "wrong"), RECORDINGS.values(), ids=RECORDINGS)
def test_the_recordings_checker_counts_what_is_wrong(numbers: list[int], wrong: dict[str, int]) -> None:
    verdict = Verdict()
    verdict.add(1000, 10, [1, 2, 3], samples(numbers))
    found = {name: getattr(verdict, name) for name in ("lost", "double", "disordered", "wrong", "unasked")}
    assert found == {"lost": 0, "double": 0, "disordered": 0, "wrong": 0, "unasked": 0, **wrong}
    assert verdict.good is (not wrong)


def test_another_value_is_wrong() -> None:
    verdict = Verdict()
    changed = samples(WHOLE)
    changed[4][3] += 0.000001
    verdict.add(1000, 10, [1, 2, 3], changed)
    assert verdict.wrong == 1
    assert not verdict.good
