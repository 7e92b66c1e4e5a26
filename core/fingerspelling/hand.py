"""A hand as 21 landmarks, normalised to one side, origin and size, so that its place and distance no longer matter.

Landmarks are MediaPipe's: 0 is the wrist, then four per finger from thumb to little finger, with tips at 4, 8, 12, 16
and 20; y points down. The canonical side is a left hand as an unmirrored camera sees it (palm to the camera, thumb at
smaller x); a right hand is mirrored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

WRIST = 0
TIPS = (4, 8, 12, 16, 20)
MCPS = (5, 9, 13, 17)
PIPS = (6, 10, 14, 18)
PARENTS = (0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)
"""For landmarks 1 to 20, the neighbouring landmark towards the wrist."""
_PALM_SPREAD = 0.6
"""The hand's size is at least this times its width (index to little finger), for when the palm is foreshortened."""
_SMALLEST = 1e-6


def normalise(landmarks: Floats, *, aspect: float, mirror: bool) -> Floats:
    """float32[..., 21, 3] relative to the wrist, in palm lengths, on the canonical side; z on the scale of x.

    `landmarks` [..., 21, 2 or 3] are shares (0..1) of the picture's width and height, z 0 when absent; `aspect` is
    width over height; `mirror` for a right hand. A hand without extent gives zeros.
    """
    given = np.asarray(landmarks, np.float32)
    hands = np.zeros((*given.shape[:-1], 3), np.float32)
    hands[..., : given.shape[-1]] = given[..., :3]
    hands = hands * np.asarray([-aspect if mirror else aspect, 1.0, aspect], np.float32)
    return resize(hands - hands[..., :1, :])


def resize(hands: Floats) -> Floats:
    """Scale wrist-centred hands to palm lengths."""
    flat = hands[..., :2]
    palm = np.linalg.norm(flat[..., MCPS, :], axis=-1).mean(axis=-1)
    across = np.linalg.norm(flat[..., 5, :] - flat[..., 17, :], axis=-1)
    size = np.maximum(palm, _PALM_SPREAD * across)[..., None, None]
    return np.asarray(np.where(size > _SMALLEST, hands / np.maximum(size, _SMALLEST), 0.0), np.float32)
