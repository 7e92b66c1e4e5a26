"""Which model to use and how often: as good as this machine sustains, and less when it is hot. Pure; times in seconds.

A kit that cannot keep up switches to a smaller model first, then analyses fewer pictures. Changes are rare: a larger
model is tried only with enough idle time, and not soon after it was found too slow.
"""

from __future__ import annotations

from typing import Literal

Choice = Literal["auto", "lite", "full", "heavy"]
BUSY_TO, IDLE_BELOW = 0.8, 0.3
"""Shares of the time between two pictures: above the first a model is too slow, below the second there is room for
more."""
SETTLE_S, AGAIN_S = 3.0, 60.0
HOT_C, COOL_C = 80.0, 72.0
"""A Raspberry Pi throttles itself from 80 °C (Raspberry Pi documentation, "Frequency management")."""
WEIGHT = 0.1


class Pace:
    """Call `took` after each picture; `size` and `interval_s` apply to the next."""

    def __init__(self, wanted: Choice, fps: float) -> None:
        self.hot = False
        self._wanted, self._target_s = wanted, 1 / fps
        self._size: str = "lite" if wanted == "auto" else wanted
        self._mean_s: float | None = None
        self._changed_at = 0.0
        self._gave_up_at: float | None = None

    @property
    def size(self) -> str:
        return "lite" if self.hot and self._wanted == "auto" else self._size

    @property
    def interval_s(self) -> float:
        """The least time between two pictures; twice as long when hot."""
        needed = (self._mean_s or 0.0) / BUSY_TO
        return max(self._target_s, needed) * (2.0 if self.hot else 1.0)

    def took(self, seconds: float, now_s: float) -> None:
        self._mean_s = seconds if self._mean_s is None else self._mean_s + WEIGHT * (seconds - self._mean_s)
        if self._wanted != "auto" or now_s - self._changed_at < SETTLE_S:
            return
        share = self._mean_s / self._target_s
        if self._size == "full" and share > BUSY_TO:
            self._gave_up_at = now_s
            self._change("lite", now_s)
        elif self._size == "lite" and share < IDLE_BELOW and self._may_try(now_s):
            self._change("full", now_s)

    def temperature(self, celsius: float | None) -> None:
        """Report the processor's temperature; None where it cannot be read."""
        if celsius is not None:
            self.hot = celsius >= (COOL_C if self.hot else HOT_C)

    def _may_try(self, now_s: float) -> bool:
        return not self.hot and (self._gave_up_at is None or now_s - self._gave_up_at > AGAIN_S)

    def _change(self, size: str, now_s: float) -> None:
        self._size, self._mean_s, self._changed_at = size, None, now_s
