"""How much history may be in flight without delaying live data: additive increase, multiplicative decrease.

The signal is how late the relay acknowledges live messages: a late one means that queued history is ahead of it
somewhere. A silent relay is probed with one message at a time. (Law: Chiu and Jain 1989; delay as the signal: RFC
6817.)
"""

from __future__ import annotations

LEAST, FIRST, MOST = 1.0, 8.0, 256.0
LATE_S = 0.5
"""Half of the second within which live data must arrive."""
HOLD_S = 1.0
"""Pause after a decrease, to see its effect."""


class Pace:
    def __init__(self) -> None:
        self.window = FIRST
        self._steep_until = MOST
        self._held_until = 0.0

    def reset(self) -> None:
        """Start afresh on a new connection."""
        self.window, self._steep_until, self._held_until = FIRST, MOST, 0.0

    def room(self, in_flight: int) -> int:
        return max(0, int(self.window) - in_flight)

    def settled(self, messages: int) -> None:
        """This many history messages were acknowledged."""
        steep = self.window < self._steep_until
        self.window = min(MOST, self.window + (messages if steep else messages / self.window))

    def live_took(self, seconds: float, now: float) -> None:
        """A live message was acknowledged this long after it was sent."""
        if seconds > LATE_S and now >= self._held_until:
            self._steep_until = self.window = max(LEAST, self.window / 2)
            self._held_until = now + HOLD_S

    def lost(self, now: float) -> None:
        """An acknowledgement timed out: the relay is away, or the path is congested."""
        self._steep_until = max(FIRST, self.window / 2)
        self.window = LEAST
        self._held_until = now + HOLD_S
