"""Detections from MediaPipe's SSD detectors: anchors, decoding, and non-maximum suppression weighted by score.

After the BlazeFace paper (Bazarevsky et al., 2019, section 3.3) and the options of MediaPipe's pose and palm graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
LEAST_SCORE = 0.5
SAME_FROM = 0.3
"""Boxes that overlap by more than this belong to the same body or hand."""
MOST_CANDIDATES = 200
"""Bound for noise that makes every anchor fire."""


class Detection(NamedTuple):
    """Coordinates as shares (0..1) of the input square: `box` is centre x, y, width, height; `points` float32[n, 2]."""

    score: float
    box: Floats
    points: Floats


def anchors(size: int, strides: Sequence[int]) -> Floats:
    """Centres of a detector's anchors as shares of its input, float32[n, 2]: two per cell for each layer."""
    layers: list[Floats] = []
    for stride in dict.fromkeys(strides):
        side = -(-size // stride)
        centres = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side)
        grid = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
        layers.append(np.repeat(grid, 2 * list(strides).count(stride), axis=0))
    return np.concatenate(layers)


def decode(raw: Floats, scores: Floats, centres: Floats, size: int) -> list[Detection]:
    """The detections in a detector's output, best first; overlapping ones are merged, weighted by score."""
    certain = 1 / (1 + np.exp(-np.clip(scores[:, 0], -80, 80)))
    chosen = np.flatnonzero(certain >= LEAST_SCORE)
    chosen = chosen[np.argsort(-certain[chosen], kind="stable")][:MOST_CANDIDATES]
    values = raw[chosen] / np.float32(size)
    boxes = np.concatenate([values[:, :2] + centres[chosen], values[:, 2:4]], axis=1)
    points = values[:, 4:].reshape(len(chosen), raw.shape[1] // 2 - 2, 2) + centres[chosen][:, None, :]
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(points).all(axis=(1, 2)) & (boxes[:, 2:] > 0).all(axis=1)
    return _merged(certain[chosen][finite], boxes[finite], points[finite])


def _merged(scores: Floats, boxes: Floats, points: Floats) -> list[Detection]:
    left = np.arange(len(scores))
    found = []
    while len(left):
        best = left[0]
        same = _overlaps(boxes[best], boxes[left]) > SAME_FROM
        same[0] = True
        group, left = left[same], left[~same]
        weights = scores[group] / scores[group].sum()
        box = np.einsum("n,nk->k", weights, boxes[group]).astype(np.float32)
        spots = np.einsum("n,nkl->kl", weights, points[group]).astype(np.float32)
        found.append(Detection(float(scores[best]), box, spots))
    return found


def _overlaps(box: Floats, boxes: Floats) -> Floats:
    """Intersection over union with each box."""
    low = np.maximum(box[:2] - box[2:] / 2, boxes[:, :2] - boxes[:, 2:] / 2)
    high = np.minimum(box[:2] + box[2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2)
    both = np.prod(np.maximum(0, high - low), axis=1)
    shares: Floats = both / (np.prod(box[2:]) + np.prod(boxes[:, 2:], axis=1) - both)
    return shares
