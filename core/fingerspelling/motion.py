"""J and Z, the two letters drawn in the air, recognised by the path of a fingertip.

J: the little finger moves down and hooks back up towards the thumb. Z: the index finger moves across, diagonally back
down, and across again. Paths are in palm lengths on the canonical side. No recordings were available, so the shapes
follow how the letters are taught.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from core.fingerspelling.hand import MCPS, Floats

WITHIN_MS = 1600.0
SHORTEST_MS = 250.0
REST_MS = 700.0
"""Pause after a recognised letter, because the way back is not a letter."""
SURE = 0.85
_INDEX, _PINKY = 8, 20
_STROKE = 0.45
_DOWN = 0.45
_HOOK = 0.2
_SMALLEST_STEP = 0.02


@dataclass(frozen=True, slots=True)
class _Point:
    t_ms: float
    index: tuple[float, float]
    pinky: tuple[float, float]
    points: bool
    little: bool


class Drawing:
    """Follows the fingertips of one hand; `see` returns "J" or "Z" for the picture that completes one."""

    def __init__(self) -> None:
        self._path: deque[_Point] = deque(maxlen=128)
        self._quiet_until_ms = float("-inf")

    def see(self, t_ms: float, hand: Floats, wrist: tuple[float, float]) -> str | None:
        """`hand`: normalised float32[21, 3]; `wrist`: its position in palm lengths, on the canonical side."""
        straight = _straight(hand)
        tips = [(wrist[0] + float(hand[tip, 0]), wrist[1] + float(hand[tip, 1])) for tip in (_INDEX, _PINKY)]
        index_only = straight[0] and not (straight[1] or straight[2] or straight[3])
        pinky_only = straight[3] and not (straight[0] or straight[1] or straight[2])
        self._path.append(_Point(t_ms, tips[0], tips[1], index_only, pinky_only))
        while self._path and t_ms - self._path[0].t_ms > WITHIN_MS:
            self._path.popleft()
        if t_ms < self._quiet_until_ms:
            return None
        found = self._drawn()
        if found is not None:
            self._quiet_until_ms = t_ms + REST_MS
            self._path.clear()
        return found

    def lost(self) -> None:
        """The hand is no longer visible."""
        self._path.clear()

    def _drawn(self) -> str | None:
        if len(self._path) < 4 or self._path[-1].t_ms - self._path[0].t_ms < SHORTEST_MS:
            return None
        if sum(one.points for one in self._path) >= 0.7 * len(self._path) and _is_z([one.index for one in self._path]):
            return "Z"
        if sum(one.little for one in self._path) >= 0.6 * len(self._path) and _is_j([one.pinky for one in self._path]):
            return "J"
        return None


def _straight(hand: Floats) -> list[bool]:
    chains = [hand[base : base + 4] for base in MCPS]
    spans = [float(np.linalg.norm(chain[-1] - chain[0])) for chain in chains]
    lengths = [float(np.linalg.norm(np.diff(chain, axis=0), axis=-1).sum()) for chain in chains]
    return [span > 0.82 * length for span, length in zip(spans, lengths, strict=True)]


def _strokes(path: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The path as sideways strokes (across, down), in order; strokes shorter than half of _STROKE are dropped as
    wobble.
    """
    points = np.asarray(path)
    runs: list[list[float]] = []
    for dx, dy in np.diff(points, axis=0):
        if abs(dx) < _SMALLEST_STEP and runs:
            runs[-1][1] += dy
        elif runs and (dx > 0) == (runs[-1][0] > 0):
            runs[-1][0] += dx
            runs[-1][1] += dy
        else:
            runs.append([float(dx), float(dy)])
    return [(across, down) for across, down in runs if abs(across) >= _STROKE / 2]


def _is_z(path: list[tuple[float, float]]) -> bool:
    """The last three strokes go across, back and down, and across again; the outer two are level and in the same
    direction.
    """
    strokes = _strokes(path)[-3:]
    if len(strokes) < 3:
        return False
    first, back, last = strokes
    ways = first[0] * back[0] < 0 < first[0] * last[0]
    wide = min(abs(first[0]), abs(back[0]), abs(last[0])) >= _STROKE
    level = abs(first[1]) < 0.6 * abs(first[0]) and abs(last[1]) < 0.6 * abs(last[0])
    return bool(ways and wide and level and back[1] >= _DOWN)


def _is_j(path: list[tuple[float, float]]) -> bool:
    """Down, then to one side and a little up again."""
    points = np.asarray(path)
    lowest = int(points[:, 1].argmax())
    down = points[lowest, 1] - points[: lowest + 1, 1].min()
    after = points[lowest:]
    return bool(
        lowest > 0
        and len(after) > 1
        and down >= _DOWN
        and after[0, 1] - after[-1, 1] >= _HOOK
        and abs(after[-1, 0] - points[: lowest + 1][int(points[: lowest + 1, 1].argmin()), 0]) >= 1.5 * _HOOK
    )
