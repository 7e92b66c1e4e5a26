"""The collector's policy: what lives is left alone, what is garbage goes, and nothing is left behind."""

from __future__ import annotations

import gc
import weakref

from relay.collector import Collector


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
