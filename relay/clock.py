"""The two clocks of a relay: the wall's for what people read, the monotonic one for durations."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> float:
        """Epoch milliseconds by the wall clock; may step."""
        ...

    def monotonic_ms(self) -> float:
        """Milliseconds that never step; their origin means nothing."""
        ...


class SystemClock:
    def now_ms(self) -> float:
        return time.time_ns() / 1e6

    def monotonic_ms(self) -> float:
        return time.monotonic_ns() / 1e6
