"""Landmarks between two that were seen, for a picture nobody looked at or in which somebody was lost for a moment.

A straight line in time, and only over short gaps: what is made here was not measured, and whoever sends it on says so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LONGEST_MS = 300.0
"""A quick movement turns within this time; what happened in a longer gap is not known."""
Floats = NDArray[np.float32]


def between(t_ms: float, before_ms: float, before: Floats, after_ms: float, after: Floats) -> Floats | None:
    """The landmarks at `t_ms`; None outside the two, or when they are too far apart."""
    gap = after_ms - before_ms
    if not before_ms < t_ms < after_ms or gap > LONGEST_MS:
        return None
    share = (t_ms - before_ms) / gap
    return np.asarray(before + share * (after - before), np.float32)
