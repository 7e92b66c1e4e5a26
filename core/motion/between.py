"""Landmarks interpolated between two detections, for a picture that was not analysed or in which nobody was found.

Linear in time, and only across short gaps. The result is not a measurement, and whoever sends it on must say so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LONGEST_MS = 300.0
"""Longest gap bridged: a quick movement can turn within this time, so a longer gap remains unknown."""
Floats = NDArray[np.float32]


def between(t_ms: float, before_ms: float, before: Floats, after_ms: float, after: Floats) -> Floats | None:
    """The landmarks at `t_ms`; None outside the two times, or when they are too far apart."""
    gap = after_ms - before_ms
    if not before_ms < t_ms < after_ms or gap > LONGEST_MS:
        return None
    share = (t_ms - before_ms) / gap
    return np.asarray(before + share * (after - before), np.float32)
