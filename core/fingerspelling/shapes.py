"""How each letter and digit of the American manual alphabet is held: joint angles, thumb position, directions of view.

A kinematic hand model that yields landmarks on the canonical side of `hand`; z is negative towards the camera.
Variation is an argument, so the same description draws the learning page, trains the letter model and spells in tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.fingerspelling.hand import Floats

Angles = tuple[float, float, float]
"""Flexion of a finger's three joints, in degrees."""

STRAIGHT: Angles = (5, 6, 4)
FIST: Angles = (62, 110, 24)
_CURVED: Angles = (38, 48, 26)
_ROUND: Angles = (52, 58, 32)

_BASES = ((-0.36, -0.98), (-0.14, -1.03), (0.07, -0.98), (0.27, -0.88))
_BONES = ((0.46, 0.28, 0.24), (0.50, 0.32, 0.26), (0.46, 0.30, 0.25), (0.36, 0.22, 0.20))
_THUMB_BASE = (-0.30, -0.20, -0.12)
_THUMB_BONES = (0.48, 0.38, 0.29)
_FANNED = (-11.0, -2.0, 7.0, 17.0)
"""Degrees by which each finger leans from upright when the fingers are spread."""
_TOGETHER = (3.0, 1.0, -2.0, -5.0)
_CURLED = (-4.0, 0.0, 6.0, 11.0)
"""The same for a fist, whose knuckles fan out while the tips meet."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One sign at rest.

    `fingers`: flexion from index to little finger; `spread`: 0 together, 1 fanned, below 0 crossed (R). The thumb's tip
    is at joint `joint` (0 base to 3 tip) of finger `near` (None: relative to the wrist), moved by `offset`. `yaw`:
    range in degrees of rotation about the hand's length (90: edge, 180: back). `points`: range of the index finger's
    direction in the picture, in degrees counterclockwise from right; None is upright.
    """

    fingers: tuple[Angles, Angles, Angles, Angles]
    offset: tuple[float, float, float]
    near: int | None = None
    joint: int = 1
    spread: float = 0.0
    yaw: tuple[float, float] = (-12, 12)
    points: tuple[float, float] | None = None
    bends: bool = False


def _hand(*up: int, held: Angles = FIST) -> tuple[Angles, Angles, Angles, Angles]:
    first, second, third, last = (STRAIGHT if number in up else held for number in range(4))
    return first, second, third, last


_K = (STRAIGHT, (32.0, 8.0, 5.0), FIST, FIST)
_X: Angles = (12, 58, 48)
_E: Angles = (34, 108, 48)
_OVER: Angles = (44, 122, 22)
"""Fingers laid over the thumb, which lifts the knuckles."""
_LIFTED: Angles = (46, 97, 28)
_UNDER: Angles = (74, 104, 22)

SHAPES: dict[str, Shape] = {
    "A": Shape(_hand(), (-0.28, -0.02, 0.06), near=0),
    "B": Shape(_hand(0, 1, 2, 3), (0.02, -0.66, -0.20)),
    "C": Shape((_CURVED,) * 4, (0.05, 0.55, 0.05), near=0, joint=3, yaw=(0, 80)),
    "D": Shape((STRAIGHT, _ROUND, _ROUND, _ROUND), (-0.03, 0.05, 0.0), near=1, joint=3, yaw=(0, 85)),
    "E": Shape((_E,) * 4, (0.04, 0.10, -0.02), near=1, joint=3),
    "F": Shape(((56.0, 58.0, 34.0), STRAIGHT, STRAIGHT, STRAIGHT), (-0.02, 0.05, 0.0), near=0, joint=3, spread=0.8),
    "G": Shape(_hand(0), (-0.08, -0.12, -0.24), near=0, joint=1, yaw=(20, 185), points=(162, 198), bends=True),
    "H": Shape(_hand(0, 1), (0.0, 0.0, -0.10), near=2, yaw=(92, 180), points=(164, 196), bends=True),
    "I": Shape(_hand(3), (0.0, 0.04, -0.12), near=1),
    "J": Shape(_hand(3), (0.0, 0.04, -0.12), near=1),
    "K": Shape(_K, (-0.08, 0.02, -0.04), near=1, spread=0.8),
    "L": Shape(_hand(0), (-1.08, -0.38, -0.05)),
    "M": Shape((_OVER, _OVER, _OVER, _UNDER), (-0.04, 0.19, 0.05), near=2),
    "N": Shape((_OVER, _OVER, _UNDER, _UNDER), (0.05, 0.19, 0.05), near=1),
    "O": Shape((_ROUND,) * 4, (-0.03, 0.06, 0.0), near=0, joint=3, yaw=(0, 80)),
    "P": Shape(_K, (-0.08, 0.02, -0.04), near=1, spread=0.8, yaw=(60, 180), points=(195, 285)),
    "Q": Shape(_hand(0), (-0.08, -0.12, -0.24), near=0, joint=1, yaw=(40, 180), points=(222, 295), bends=True),
    "R": Shape(_hand(0, 1), (0.0, 0.02, -0.10), near=2, spread=-1.0),
    "S": Shape(_hand(), (0.02, 0.18, -0.10), near=1),
    "T": Shape((_LIFTED, FIST, FIST, FIST), (0.12, 0.0, 0.0), near=0),
    "U": Shape(_hand(0, 1), (0.0, 0.02, -0.10), near=2),
    "V": Shape(_hand(0, 1), (0.0, 0.02, -0.10), near=2, spread=2.0),
    "W": Shape(_hand(0, 1, 2), (0.0, 0.02, -0.08), near=3, spread=1.0),
    "X": Shape((_X, FIST, FIST, FIST), (0.0, 0.04, -0.12), near=1, yaw=(-10, 75)),
    "Y": Shape(_hand(3), (-1.00, -0.62, -0.02), spread=1.3),
    "Z": Shape(_hand(0), (0.0, 0.04, -0.12), near=1),
    "0": Shape((_ROUND,) * 4, (-0.03, 0.06, 0.0), near=0, joint=3, yaw=(0, 80)),
    "1": Shape(_hand(0), (0.0, 0.04, -0.12), near=1),
    "2": Shape(_hand(0, 1), (0.0, 0.02, -0.10), near=2, spread=2.0),
    "3": Shape(_hand(0, 1), (-0.95, -0.70, -0.05), spread=1.0),
    "4": Shape(_hand(0, 1, 2, 3), (0.02, -0.66, -0.20), spread=1.3),
    "5": Shape(_hand(0, 1, 2, 3), (-1.05, -0.55, -0.05), spread=1.3),
    "6": Shape((STRAIGHT, STRAIGHT, STRAIGHT, (62.0, 66.0, 35.0)), (-0.02, 0.04, 0.0), near=3, joint=3, spread=1.0),
    "7": Shape((STRAIGHT, STRAIGHT, (60.0, 64.0, 35.0), STRAIGHT), (-0.02, 0.04, 0.0), near=2, joint=3, spread=1.0),
    "8": Shape((STRAIGHT, (58.0, 62.0, 34.0), STRAIGHT, STRAIGHT), (-0.02, 0.04, 0.0), near=1, joint=3, spread=1.0),
    "9": Shape(((56.0, 58.0, 34.0), STRAIGHT, STRAIGHT, STRAIGHT), (-0.02, 0.05, 0.0), near=0, joint=3, spread=0.8),
}


@dataclass(frozen=True, slots=True)
class Variation:
    """Differences between people and moments, for n hands. `Variation.none` has none."""

    flexion: Floats  # [n, 4, 3] degrees
    spread: Floats  # [n, 4] degrees
    width: Floats  # [n] factor
    lengths: Floats  # [n, 4, 3] factor
    thumb: Floats  # [n, 3] palm lengths
    view: Floats  # [n] 0..1, where within the shape's range of views
    direction: Floats  # [n] 0..1, where within the range it points to

    @classmethod
    def none(cls, count: int = 1) -> Variation:
        """`count` average hands, each in the middle of its range of views."""
        zeros, ones, half = np.zeros, np.ones, np.full(count, 0.5, np.float32)
        return cls(
            flexion=zeros((count, 4, 3), np.float32),
            spread=zeros((count, 4), np.float32),
            width=ones(count, np.float32),
            lengths=ones((count, 4, 3), np.float32),
            thumb=zeros((count, 3), np.float32),
            view=half,
            direction=half,
        )


def pose(shape: Shape, varied: Variation) -> Floats:
    """float32[n, 21, 3]: landmarks relative to the wrist, in palm lengths, as a camera sees the shape."""
    count = len(varied.width)
    yaw = _within(shape.yaw, varied.view)
    hands = np.zeros((count, 21, 3), np.float32)
    for finger in range(4):
        hands[:, 5 + 4 * finger : 9 + 4 * finger] = _finger(shape, finger, varied, yaw)
    hands[:, 1:5] = _thumb(hands, shape, varied)
    hands = _turned(hands, yaw)
    return hands if shape.points is None else _pointing(hands, _within(shape.points, varied.direction))


def _within(limits: tuple[float, float], place: Floats) -> Floats:
    return np.asarray(limits[0] + (limits[1] - limits[0]) * place, np.float32)


def _finger(shape: Shape, finger: int, varied: Variation, yaw: Floats) -> Floats:
    """[n, 4, 3]: base and three joints. Flexion bends towards the camera; the lean lies in the palm's plane."""
    bends = np.asarray(shape.fingers[finger], np.float32) + varied.flexion[:, finger]
    if shape.bends and shape.fingers[finger][0] < 20:
        bends[:, 0] += np.clip((180 - yaw) / 90, 0, 1) * 82
    folded = np.radians(np.cumsum(bends, axis=1))
    lean = np.radians(_lean(shape, finger) + varied.spread[:, finger])[:, None]
    length = np.asarray(_BONES[finger], np.float32) * varied.lengths[:, finger]
    up = np.cos(folded) * length
    steps = np.stack([np.sin(lean) * up, -np.cos(lean) * up, -np.sin(folded) * length], axis=-1)
    base = np.zeros((len(yaw), 1, 3), np.float32)
    base[:, 0, 0], base[:, 0, 1] = _BASES[finger][0] * varied.width, _BASES[finger][1]
    return np.concatenate([base, base + np.cumsum(steps, axis=1)], axis=1, dtype=np.float32)


def _lean(shape: Shape, finger: int) -> float:
    if shape.fingers[finger] in (FIST, _OVER, _LIFTED, _UNDER):
        return _CURLED[finger]
    if shape.spread < 0:
        return (13.0, -7.0, _TOGETHER[2], _TOGETHER[3])[finger]
    return _TOGETHER[finger] + shape.spread * (_FANNED[finger] - _TOGETHER[finger])


def _thumb(hands: Floats, shape: Shape, varied: Variation) -> Floats:
    """[n, 4, 3]: an arc of equal bends from the thumb's base to its target, curved away from the palm."""
    base = np.asarray(_THUMB_BASE, np.float32) * np.stack([varied.width] + [np.ones_like(varied.width)] * 2, axis=-1)
    goal = np.asarray(shape.offset, np.float32) + varied.thumb
    if shape.near is not None:
        goal = goal + hands[:, 5 + 4 * shape.near + shape.joint]
    length = np.asarray(_THUMB_BONES, np.float32) * varied.lengths[:, 0]
    chord = goal - base
    reach = np.linalg.norm(chord, axis=-1)
    along = chord / np.maximum(reach, 1e-6)[:, None]
    bulge = np.asarray([-0.8, -0.15, -0.45], np.float32)
    bulge = bulge - (along * bulge).sum(-1, keepdims=True) * along
    bulge = bulge / np.linalg.norm(bulge, axis=-1, keepdims=True)
    bend = _bend_to_reach(length, reach)
    angles = np.stack([bend, np.zeros_like(bend), -bend], axis=-1)
    steps = length[..., None] * (
        np.cos(angles)[..., None] * along[:, None] + np.sin(angles)[..., None] * bulge[:, None]
    )
    joints = base[:, None] + np.cumsum(steps, axis=1)
    return np.concatenate([base[:, None], joints], axis=1, dtype=np.float32)


def _bend_to_reach(length: Floats, reach: Floats) -> Floats:
    """Angle between neighbouring bones at which the chain spans `reach`; 0 when out of reach."""
    ends = length[:, 0] + length[:, 2]
    return np.asarray(np.arccos(np.clip((reach - length[:, 1]) / ends, math.cos(2.2), 1.0)), np.float32)


def _turned(hands: Floats, yaw: Floats) -> Floats:
    """Rotate about the hand's length."""
    angle = np.radians(yaw)[:, None]
    x, y, z = hands[..., 0], hands[..., 1], hands[..., 2]
    return np.stack([x * np.cos(angle) + z * np.sin(angle), y, z * np.cos(angle) - x * np.sin(angle)], axis=-1)


def _pointing(hands: Floats, towards: Floats) -> Floats:
    """Rotate in the picture's plane until the index finger points towards `towards` degrees."""
    finger = hands[:, 8] - hands[:, 5]
    turn = (np.radians(-towards) - np.arctan2(finger[:, 1], finger[:, 0]))[:, None]
    x, y = hands[..., 0], hands[..., 1]
    turned = [x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn), hands[..., 2]]
    return np.asarray(np.stack(turned, axis=-1), np.float32)
