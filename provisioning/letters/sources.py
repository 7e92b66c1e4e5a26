"""Where the hands to train on come from: four recorded sources, each brought to one side and one aspect, and
synthetic ones.

What a source does not say is settled here once: the frame's aspect by the proportions of palms, the side by the turn
of the palm, which letters held towards the camera fix. J and Z are motions and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.fingerspelling.hand import Floats, resize
from core.fingerspelling.letters import STATIC
from core.fingerspelling.shapes import SHAPES, Variation, pose

SYNTHETIC_EACH = 2500
_PALM_RATIO = 0.68
"""Index-to-pinky knuckles over wrist-to-middle knuckle of an adult hand seen from the front."""
_BACK_SEEN = "H"
"""Letters whose palm is turned away from the camera."""


@dataclass(frozen=True, slots=True)
class Source:
    """Hands of one origin: normalised float32[n, 21, 3], index into STATIC int64[n], whether z was measured, weight."""

    name: str
    hands: Floats
    labels: NDArray[np.int64]
    has_z: bool
    weight: float

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Source:
        return Source(self.name, self.hands[rows], self.labels[rows], self.has_z, self.weight)


def recorded(path: Path) -> list[Source]:
    """The sources in an .npz of NAME__x float32[n, 21, 3] and NAME__y letters."""
    with np.load(path) as data:
        names = sorted(key.removesuffix("__x") for key in data.files if key.endswith("__x"))
        return [_source(name, data[f"{name}__x"], data[f"{name}__y"]) for name in names]


def _source(name: str, points: Floats, letters: NDArray[np.str_]) -> Source:
    static = np.isin(letters, list(STATIC))
    hands, letters = points[static] - points[static][:, :1], letters[static]
    has_z = bool(np.abs(hands[..., 2]).max() > 0)
    hands = hands * np.asarray([aspect_of(hands), 1.0, aspect_of(hands)], np.float32)
    hands[..., 0] *= _sides(hands, letters)[:, None]
    return Source(name, resize(hands), np.asarray([STATIC.index(one) for one in letters]), has_z, 1.0)


def aspect_of(hands: Floats) -> float:
    """The picture's aspect, 1 to 1.78, at which the median palm has an adult's proportions."""

    def off(aspect: float) -> float:
        flat = hands[..., :2] * np.asarray([aspect, 1.0], np.float32)
        across = np.linalg.norm(flat[:, 5] - flat[:, 17], axis=-1)
        return abs(float(np.median(across / np.linalg.norm(flat[:, 9], axis=-1))) - _PALM_RATIO)

    return min((float(one) for one in np.arange(1.0, 1.79, 0.01)), key=off)


def _sides(hands: Floats, letters: NDArray[np.str_]) -> Floats:
    """1, or -1 where the row is a hand of the other side. A source of one side is turned as a whole."""
    turn = hands[:, 5, 0] * hands[:, 17, 1] - hands[:, 5, 1] * hands[:, 17, 0]
    side = np.where(np.isin(letters, list(_BACK_SEEN)), -np.sign(turn), np.sign(turn))
    facing = ~np.isin(letters, list("GHPQC"))
    share = float((side[facing] > 0).mean())
    if 0.1 < share < 0.9:
        return np.asarray(np.where(side == 0, 1.0, side), np.float32)
    return np.full(len(hands), 1.0 if share > 0.5 else -1.0, np.float32)


def synthetic(rng: np.random.Generator, each: int = SYNTHETIC_EACH, weight: float = 0.4) -> Source:
    """`each` varied hands a letter."""
    hands = [pose(SHAPES[letter], _varied(rng, each)) for letter in STATIC]
    hands = [_special(letter, one, rng) for letter, one in zip(STATIC, hands, strict=True)]
    whole = np.concatenate(hands)
    whole[..., 2] *= rng.uniform(0.45, 1.0, (len(whole), 1)).astype(np.float32)
    return Source("synthetic", resize(whole), np.repeat(np.arange(len(STATIC)), each), True, weight)


def _varied(rng: np.random.Generator, count: int) -> Variation:
    def normal(sd: float, *shape: int) -> Floats:
        return rng.normal(0, sd, (count, *shape)).astype(np.float32)

    return Variation(
        flexion=normal(6, 1, 3) + normal(8, 4, 3),
        spread=normal(4, 4),
        width=np.exp(normal(0.1)),
        lengths=np.exp(normal(0.06, 4, 3)),
        thumb=normal(0.06, 3),
        view=rng.random(count, np.float32),
        direction=rng.random(count, np.float32),
    )


def _special(letter: str, hands: Floats, rng: np.random.Generator) -> Floats:
    """Habits of people: Y shown from the back by two in five, M's thumb anywhere, G pointing the other way by some."""
    turned = rng.random(len(hands)) < {"Y": 0.4, "G": 0.12}.get(letter, 0.0)
    if letter == "Y":
        hands[turned] *= np.asarray([-1, 1, -1], np.float32)
    if letter == "G":
        hands[turned, :, 0] *= -1
    return hands
