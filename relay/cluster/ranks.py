"""Which relays are there, and whose turn something is, by rendezvous hashing (Thaler and Ravishankar 1998). Pure.

When a relay leaves, only what was its own moves, and relays that know the same names agree without communicating.
Correctness does not depend on it: two relays may both think it is their turn for a moment, and the database decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

GONE_AFTER_MS = 1000.0
"""A relay silent for this long counts as gone: four heartbeats."""


def weight(relay: str, key: str) -> int:
    return int.from_bytes(blake2b(f"{relay}\0{key}".encode(), digest_size=8).digest())


@dataclass
class Roll:
    """The relays heard of lately. Times are ms of this relay's own monotonic clock."""

    own: str
    heard_ms: dict[str, float] = field(default_factory=dict)

    def heard(self, relay: str, now_ms: float) -> bool:
        """A heartbeat; returns True when the relay is new."""
        new = relay not in self.heard_ms
        self.heard_ms[relay] = now_ms
        return new

    def gone(self, now_ms: float) -> list[str]:
        """The relays silent for too long. Each is returned once, and removed."""
        lost = [relay for relay, at in self.heard_ms.items() if at < now_ms - GONE_AFTER_MS]
        for relay in lost:
            del self.heard_ms[relay]
        return lost

    @property
    def present(self) -> list[str]:
        return sorted({self.own, *self.heard_ms})

    def rank(self, key: str) -> int:
        """0 when it is this relay's turn, 1 when it is next if the first is missing, and so on."""
        own = weight(self.own, key)
        return sum(weight(relay, key) > own for relay in self.heard_ms)
