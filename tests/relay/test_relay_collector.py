"""The collector's policy: what lives is left alone, what is garbage goes, and nothing is left behind."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

from relay.process.collector import Collector, resident_bytes


class Ring:
    def __init__(self) -> None:
        self.me = self


def test_survivors_are_frozen_and_their_garbage_goes_with_the_next_walk() -> None:
    collector = Collector()
    callbacks = len(gc.callbacks)
    with collector.policy():
        before = gc.get_freeze_count()
        young, lasting = Ring(), Ring()
        gone, kept = weakref.ref(young), weakref.ref(lasting)
        del young
        gc.collect()
        assert gone() is None
        assert gc.get_freeze_count() > before
        del lasting
        gc.collect()
        assert kept() is not None, "frozen"
        collector.settle()
        assert kept() is None
    assert (gc.get_freeze_count(), len(gc.callbacks)) == (0, callbacks)


def test_without_proc_there_is_still_a_figure(tmp_path: Path) -> None:
    here, most = resident_bytes(), resident_bytes(tmp_path / "statm")
    assert 10 << 20 < here <= most * 1.01 < 100 * here


def test_no_walk_under_the_policy_is_long_however_much_is_made() -> None:
    """In objects, not in seconds: what one full collection had to look at while 400,000 came to stay."""
    walked: list[int] = []

    def note(phase: str, info: dict[str, Any]) -> None:
        if phase == "start" and info["generation"] == 2:
            walked.append(sum(len(gc.get_objects(generation)) for generation in range(3)))

    collector = Collector()
    before = gc.get_threshold()
    with collector.policy():
        gc.callbacks.insert(0, note)
        try:
            kept = [[number] for number in range(400_000)]
        finally:
            gc.callbacks.remove(note)
    assert len(walked) > 10
    assert max(walked) < 40_000
    assert len(kept) == 400_000
    assert gc.get_threshold() == before
