"""Samples that lie before what was already drawn: repetitions, or the first sign of a clock that was set back.

A clock that was set back continues at its own pace. Repetitions come once, or faster than real time, and the stream
then moves on. Until that is clear, the samples wait here: bounded, and none is lost by waiting.
"""

from __future__ import annotations

from core.signals.spline import Knot

MOST = 10_000
"""About 10 s of the fastest stream. That many without the stream moving on are not a clock that was set back."""


class Late:
    """The waiting samples in order of arrival, with rising times."""

    def __init__(self) -> None:
        self.knots: list[Knot] = []
        self.since_ms = 0.0
        self._push = self._pushes = 0
        self._first_end = 0.0

    @property
    def first_span(self) -> float:
        """The span of sample time in the first push among them, in ms."""
        return self._first_end - self.knots[0].t

    def add(self, knot: Knot, push: int, now_ms: float) -> int:
        """Keep a sample of push number `push`; returns how many earlier ones it proves to be repetitions."""
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
        """Return all of them and become empty."""
        knots, self.knots = self.knots, []
        return knots

    def is_step(self, hold_ms: float, now_ms: float) -> bool:
        """Whether a clock was set back: at least two pushes, covering `hold_ms`, at no more than twice real time."""
        if not self.knots or self._pushes < 2:
            return False
        told = self.knots[-1].t - self._first_end
        return self.knots[-1].t - self.knots[0].t >= hold_ms and now_ms - self.since_ms >= told / 2
