"""Samples from behind what was drawn: a repetition, or the first sign of a clock that was set back.

A clock set back goes on at its own pace; a repetition comes once, or faster than it was measured, and the
stream moves on after it. Until that is told apart the samples wait here, bounded, and none is lost by
waiting.
"""

from __future__ import annotations

from core.signals.spline import Knot

MOST = 10_000
"""About 10 s of the fastest stream: more has never moved on, so it is no clock but a flood."""


class Late:
    """The suspects, in the order they came, times rising."""

    def __init__(self) -> None:
        self.knots: list[Knot] = []
        self.since_ms = 0.0
        self._push = self._pushes = 0
        self._first_end = 0.0

    @property
    def first_span(self) -> float:
        """Sample time told by the first push among them."""
        return self._first_end - self.knots[0].t

    def add(self, knot: Knot, push: int, now_ms: float) -> int:
        """Keep one of push number `push`; returns how many earlier ones it proves to be repetitions."""
        given_up = 0
        if self.knots and (knot.t <= self.knots[-1].t or len(self.knots) >= MOST):
            given_up = len(self.release())
        if not self.knots:
            self.since_ms, self._push, self._pushes = now_ms, push, 1
        elif push != self._push:
            self._push, self._pushes = push, self._pushes + 1
        self.knots.append(knot)
        if self._pushes == 1:
            self._first_end = knot.t
        return given_up

    def release(self) -> list[Knot]:
        """All of them, leaving nothing."""
        knots, self.knots = self.knots, []
        return knots

    def is_step(self, hold_ms: float, now_ms: float) -> bool:
        """Whether a clock was set back: told by two pushes or more, for `hold_ms`, not faster than twice real
        time."""
        if not self.knots or self._pushes < 2:
            return False
        told = self.knots[-1].t - self._first_end
        return self.knots[-1].t - self.knots[0].t >= hold_ms and now_ms - self.since_ms >= told / 2
