"""Varies a hand: rotated in space, with another person's bone lengths, seen by another camera, with noise.

Applied anew to each batch. Standard deviations are the recipe's; rotation in depth matters most for people not seen in
training.
"""

from __future__ import annotations

import numpy as np

from core.fingerspelling.hand import PARENTS, Floats, resize

YAW, PITCH, ROLL = 30.0, 24.0, 15.0
ASPECT, PALM_BEND, FINGER_BEND, LENGTH, NOISE, DEPTH = 0.12, 2.0, 4.0, 0.035, 0.024, 0.3
NO_DEPTH = 0.4


def augmented(hands: Floats, has_z: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Varied hands, and for each whether z is kept; input: normalised [n, 21, 3], and 1 or 0 as float32[n]."""
    count = len(hands)
    varied = hands.copy()
    varied[..., 2] *= np.exp(_normal(rng, DEPTH, count, 1))
    varied = _other_bones(varied, rng)
    varied = np.einsum("nij,nkj->nki", _rotations(count, rng), varied)
    varied[..., 0] *= np.exp(_normal(rng, ASPECT, count, 1))
    varied += _normal(rng, NOISE, *varied.shape)
    varied -= varied[:, :1]
    kept = has_z * (rng.random(count) >= NO_DEPTH)
    return resize(varied.astype(np.float32)), kept.astype(np.float32)


def _normal(rng: np.random.Generator, sd: float, *shape: int) -> Floats:
    return rng.standard_normal(shape, np.float32) * np.float32(sd)


def _rotations(count: int, rng: np.random.Generator) -> Floats:
    yaw, pitch, roll = (np.radians(_normal(rng, sd, count)) for sd in (YAW, PITCH, ROLL))
    turned = _about(2, 0, yaw) @ _about(1, 2, pitch) @ _about(0, 1, roll)
    return np.asarray(turned, np.float32)


def _about(first: int, second: int, angle: Floats) -> Floats:
    """Rotations [n, 3, 3] in the plane of two axes."""
    turn = np.tile(np.eye(3, dtype=np.float32), (len(angle), 1, 1))
    turn[:, first, first] = turn[:, second, second] = np.cos(angle)
    turn[:, first, second], turn[:, second, first] = -np.sin(angle), np.sin(angle)
    return turn


def _other_bones(hands: Floats, rng: np.random.Generator) -> Floats:
    """Rotate each bone a little in the picture, with the rest of its finger, and change its length a little."""
    bones = hands[:, 1:] - hands[:, PARENTS]
    count = len(hands)
    sd = np.where(np.arange(20) % 4 == 0, PALM_BEND, FINGER_BEND).astype(np.float32)
    turn = np.radians(_normal(rng, 1.0, count, 20) * sd).reshape(count, 5, 4).cumsum(axis=2).reshape(count, 20)
    factor = np.exp(_normal(rng, LENGTH, count, 20))
    x, y = bones[..., 0], bones[..., 1]
    turned = [x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn), bones[..., 2]]
    steps = (np.stack(turned, axis=-1) * factor[..., None]).reshape(count, 5, 4, 3)
    moved = np.zeros_like(hands)
    moved[:, 1:] = steps.cumsum(axis=2).reshape(count, 20, 3)
    return moved
