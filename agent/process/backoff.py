"""Pauses between attempts: doubled up to a bound, with jitter so that many kits do not reconnect at the same moment."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """`next` is the pause before the next attempt, in seconds; call `reset` after lasting success."""

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
