"""Chooses the video bit rate from fixed steps, rarely, as each change needs a new encoder and begins with a keyframe.

Down as soon as the connection carries clearly less than is sent; up one step after it has carried more for a while. A
still picture needs few bits, and an estimate based on few bits is low: that alone is no reason. Pure: time is an
argument.
"""

from __future__ import annotations

LADDER_BPS = (200_000, 350_000, 600_000, 1_000_000, 1_600_000, 2_500_000)
UP_AFTER_S = 8.0
HEADROOM = 1.15
"""A step is taken when the estimate exceeds its rate by this factor."""

CLEARLY = 0.9
"""Tolerance: both figures vary by some percent, while a saturated line is reported at 0.85 of what got through."""
AT_ITS_CAP = 1.4
"""An estimator reports at most 1.5 times what got through; an estimate near that means that no limit was found."""


class Steps:
    """`rate_bps` is the rate to encode at; call `estimated` with each bandwidth estimate."""

    def __init__(self, most_bps: int, first_bps: int = 1_000_000) -> None:
        self._ladder = tuple(step for step in LADDER_BPS if step <= most_bps) or LADDER_BPS[:1]
        self._at = max(at for at, step in enumerate(self._ladder) if step <= max(first_bps, self._ladder[0]))
        self._since_s: float | None = None

    @property
    def rate_bps(self) -> int:
        return self._ladder[self._at]

    def estimated(self, bps: float, now_s: float, sent_bps: float) -> bool:
        """Take an estimate; returns whether the step has changed. `sent_bps` is the rate actually sent recently."""
        fits = max((at for at, step in enumerate(self._ladder) if step * HEADROOM <= bps), default=0)
        if fits < self._at and bps < min(self.rate_bps, CLEARLY * sent_bps):
            self._at, self._since_s = fits, None
            return True
        if fits <= self._at and not 0 < sent_bps * AT_ITS_CAP <= bps:
            self._since_s = None
            return False
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s < UP_AFTER_S or self._at + 1 == len(self._ladder):
            return False
        self._at, self._since_s = self._at + 1, None
        return True
