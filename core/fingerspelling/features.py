"""The 274 features by which letters are told apart, computed from a normalised hand; position and size no longer
matter.

A, S, T, M, N and E differ in where the thumb hides, so it is measured against nine finger segments; R and U differ in
crossing, so the offsets of neighbouring fingers are included. Without depth, the depth features and the last one are 0.
"""

from __future__ import annotations

import numpy as np

from core.fingerspelling.hand import MCPS, PARENTS, PIPS, TIPS, Floats

COUNT = 274
_POINTS = np.asarray((*TIPS, 3, *PIPS, *MCPS))
_PAIRS = np.triu_indices(len(_POINTS), 1)
_CHAINS = np.asarray([[0, *range(first, first + 4)] for first in (1, 5, 9, 13, 17)])
_SEGMENTS = np.asarray([(5, 6), (6, 7), (9, 10), (10, 11), (13, 14), (14, 15), (17, 18), (5, 9), (9, 13)])
_NEIGHBOURS = np.asarray([(8, 12), (7, 11), (6, 10), (12, 16), (16, 20)])
_THUMB = np.asarray([4, 3])
_SOFT = 0.05
_Z_WEIGHT = 1.5


def features(hands: Floats, *, has_z: bool | Floats = True) -> Floats:
    """float32[n, 274] for normalised hands float32[n, 21, 3]; `has_z` for all hands, or as float32[n] of 1 and 0."""
    flat = hands[:, :, :2]
    bones = flat[:, 1:] - flat[:, PARENTS]
    depth = np.broadcast_to(np.asarray(has_z, np.float32), (len(hands),))[:, None]
    parts = (
        flat[:, 1:].reshape(len(hands), -1),
        _distances(flat),
        _turns(flat),
        (bones / (np.linalg.norm(bones, axis=-1, keepdims=True) + _SOFT)).reshape(len(hands), -1),
        _thumb(flat),
        (flat[:, _NEIGHBOURS[:, 0]] - flat[:, _NEIGHBOURS[:, 1]]).reshape(len(hands), -1),
        _reach(flat),
        _cross(flat[:, 5], flat[:, 17])[:, None],
        hands[:, 1:, 2] * _Z_WEIGHT * depth,
        depth,
    )
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _cross(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0], np.float32)


def _distances(flat: Floats) -> Floats:
    points = flat[:, _POINTS]
    return np.asarray(np.linalg.norm(points[:, _PAIRS[0]] - points[:, _PAIRS[1]], axis=-1), np.float32)


def _turns(flat: Floats) -> Floats:
    """Sine and cosine of the bend at each joint, as projected in the picture."""
    steps = np.diff(flat[:, _CHAINS], axis=2)
    before, after = steps[:, :, :-1], steps[:, :, 1:]
    size = np.linalg.norm(before, axis=-1) * np.linalg.norm(after, axis=-1) + _SOFT**2
    turned = np.stack([_cross(before, after) / size, (before * after).sum(-1) / size], axis=-1)
    return np.asarray(turned.reshape(len(flat), -1), np.float32)


def _thumb(flat: Floats) -> Floats:
    """Position of the thumb's tip and last joint along and across each segment, relative to its start."""
    start, end = flat[:, _SEGMENTS[:, 0]], flat[:, _SEGMENTS[:, 1]]
    along = end - start
    along = along / (np.linalg.norm(along, axis=-1, keepdims=True) + _SOFT)
    offset = flat[:, _THUMB, None] - start[:, None]
    placed = np.stack([(offset * along[:, None]).sum(-1), _cross(along[:, None], offset)], axis=-1)
    return np.asarray(placed.reshape(len(flat), -1), np.float32)


def _reach(flat: Floats) -> Floats:
    """Distance from first joint to fingertip divided by the bones' length: 1 for a straight finger, near 0 for a curled
    one.
    """
    chains = flat[:, _CHAINS[:, 1:]]
    length = np.linalg.norm(np.diff(chains, axis=2), axis=-1).sum(-1)
    return np.asarray(np.linalg.norm(chains[:, :, -1] - chains[:, :, 0], axis=-1) / (length + _SOFT), np.float32)
