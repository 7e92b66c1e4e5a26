"""Pauses between attempts: doubling up to a bound, spread at random so that a ward of kits does not knock at once."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """`next` is the pause before the next attempt, in seconds; `reset` after a success that lasted."""

    def __init__(self, first_s: float, most_s: float, draw: Callable[[], float] = random.random) -> None:
        self._first = first_s
        self._most = most_s
        self._draw = draw
        self._pause = first_s

    def next(self) -> float:
        pause = self._pause * (0.5 + self._draw())
        self._pause = min(self._pause * 2, self._most)
        return pause

    def reset(self) -> None:
        self._pause = self._first
