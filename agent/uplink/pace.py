"""How much history may be in flight, so that it never delays the present. Additive increase, multiplicative decrease.

The signal is the delay of the relay's acknowledgements of live messages: a late one says that what history queued
somewhere on the way stands before it. A silent relay is probed with one message at a time. (Chiu and Jain 1989 for
the law; RFC 6817 for taking delay as the signal.)
"""

from __future__ import annotations

LEAST, FIRST, MOST = 1.0, 8.0, 256.0
LATE_S = 0.5
"""Half of the second that live data may take at most."""
HOLD_S = 1.0
"""One decrease, then wait to see what it did."""


class Pace:
    def __init__(self) -> None:
        self.window = FIRST
        self._steep_until = MOST
        self._held_until = 0.0

    def reset(self) -> None:
        """A new connection knows nothing of the last."""
        self.window, self._steep_until, self._held_until = FIRST, MOST, 0.0

    def room(self, in_flight: int) -> int:
        return max(0, int(self.window) - in_flight)

    def settled(self, messages: int) -> None:
        """So many history messages were acknowledged."""
        steep = self.window < self._steep_until
        self.window = min(MOST, self.window + (messages if steep else messages / self.window))

    def live_took(self, seconds: float, now: float) -> None:
        """A live message was acknowledged so long after it was sent."""
        if seconds > LATE_S and now >= self._held_until:
            self._steep_until = self.window = max(LEAST, self.window / 2)
            self._held_until = now + HOLD_S

    def lost(self, now: float) -> None:
        """Nothing came back in time: the relay is away, or the way is choked."""
        self._steep_until = max(FIRST, self.window / 2)
        self.window = LEAST
        self._held_until = now + HOLD_S
