"""Detects movement of the patient or the sensor: vibration far stronger than a heartbeat on the chest.

Half-second blocks are judged by strength alone, so a single knock and a long walk are both found, and a resting chest
is not: in 17 resting recordings the 0.7 to 4 Hz band stays below 0.05 m/s² rms; in motion it has 0.1 to 3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.signals.filters import BODY, HEART, zero_phase
from core.signals.window import Mask, Window

Floats = NDArray[np.float64]

BLOCK_S = 0.5
BODY_MS2 = 0.15
HEART_MS2 = 0.5
"""Block rms in m/s² above which it is motion: in the body's band, and in the heart's (resting chests: 0.25 at most)."""


def moving(window: Window, fs: float) -> Mask:
    """For each sample of the window (m/s²), whether it belongs to a block with movement."""
    block = round(BLOCK_S * fs)
    if len(window.x) < 4 * block:
        return np.zeros(len(window.x), dtype=np.bool_)
    body = _block_rms(zero_phase(window.x, BODY, fs, order=2), block)
    heart = _block_rms(zero_phase(window.x, HEART, fs), block)
    return np.repeat((body > BODY_MS2) | (heart > HEART_MS2), block)[: len(window.x)]


def _block_rms(x: Floats, block: int) -> Floats:
    padded = np.pad(x, (0, -len(x) % block), mode="edge").reshape(-1, block)
    return np.sqrt(np.asarray((padded * padded).mean(axis=1), dtype=np.float64))


def episodes(window: Window, mask: Mask) -> tuple[tuple[int, int], ...]:
    """The mask's stretches as (from, to) in grid ms."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return tuple((window.time_ms(int(a)), window.time_ms(int(b))) for a, b in edges.reshape(-1, 2))
