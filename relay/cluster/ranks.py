"""Who is there, and whose turn something is: pure. Rendezvous hashing (Thaler and Ravishankar 1998).

When a relay goes, only what was its own moves, and every relay that knows the same names agrees without a word.
Nothing rests on the agreement: for a moment two relays may both think it is their turn, and the database decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

GONE_AFTER_MS = 1000.0
"""A relay silent for so long counts as gone; four heartbeats."""


def weight(relay: str, key: str) -> int:
    return int.from_bytes(blake2b(f"{relay}\0{key}".encode(), digest_size=8).digest())


@dataclass
class Roll:
    """The relays heard of lately. Times are monotonic milliseconds of one's own."""

    own: str
    heard_ms: dict[str, float] = field(default_factory=dict)

    def heard(self, relay: str, now_ms: float) -> bool:
        """A heartbeat; True when it is a newcomer's."""
        new = relay not in self.heard_ms
        self.heard_ms[relay] = now_ms
        return new

    def gone(self, now_ms: float) -> list[str]:
        """Those silent for too long, once: they are struck off."""
        lost = [relay for relay, at in self.heard_ms.items() if at < now_ms - GONE_AFTER_MS]
        for relay in lost:
            del self.heard_ms[relay]
        return lost

    @property
    def present(self) -> list[str]:
        return sorted({self.own, *self.heard_ms})

    def rank(self, key: str) -> int:
        """0: it is this relay's turn; 1: it is next should the first not be there; and so on."""
        own = weight(self.own, key)
        return sum(weight(relay, key) > own for relay in self.heard_ms)
