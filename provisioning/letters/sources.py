"""Training data: four recorded sources, each brought to one side and one aspect ratio, and synthetic hands.

What a source does not state is inferred here: the aspect ratio from the proportions of palms, and the side from the
orientation of the palm, known for letters shown with the palm to the camera. J and Z are movements and are omitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.fingerspelling.hand import Floats, resize
from core.fingerspelling.letters import STATIC
from core.fingerspelling.shapes import FIST, SHAPES, STRAIGHT, Shape, Variation, pose

SYNTHETIC_EACH = 2500
SYNTHETIC_WEIGHT = 3.0
"""As much as three recorded sources. With two sources left out, weights of 2 to 5 do equally well on strangers, less
does worse."""
NO_LETTER = len(STATIC)
"""The label of hands that show no letter; their target is equal probability for every letter."""
_PALM_RATIO = 0.68
"""Distance of the index and little finger's knuckles over that of wrist and middle knuckle, for an adult hand seen from
the front."""
_TILT = 35.0
"""Standard deviation in degrees."""
_SIDEWAYS = "GH"
"""Letters whose palm is seen from its edge; the index finger's direction tells which hand it is."""


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


@dataclass(frozen=True, slots=True)
class Habit:
    """How much people differ in a letter, as standard deviations: flexion and lean of all fingers together, in degrees,
    and the thumb's tip, in palm lengths.
    """

    flexion: float = 6.0
    spread: float = 4.0
    thumb: tuple[float, float, float] = (0.06, 0.06, 0.06)


HABITS = {
    "A": Habit(8, thumb=(0.16, 0.12, 0.08)),
    "C": Habit(10),
    "E": Habit(9, thumb=(0.16, 0.12, 0.08)),
    "M": Habit(8, thumb=(0.14, 0.10, 0.08)),
    "N": Habit(8, thumb=(0.10, 0.10, 0.08)),
    "O": Habit(10),
    "R": Habit(spread=5),
    "S": Habit(9, thumb=(0.14, 0.10, 0.08)),
    "T": Habit(8, thumb=(0.10, 0.10, 0.08)),
    "V": Habit(spread=5),
    "X": Habit(10, thumb=(0.16, 0.10, 0.08)),
    "Y": Habit(8, thumb=(0.14, 0.14, 0.10)),
}


_FOLDED, _OUT = (0.0, 0.02, -0.10), (-1.0, -0.5, -0.05)
NO_LETTERS = [
    Shape((STRAIGHT, FIST, FIST, STRAIGHT), _FOLDED, near=1, spread=0.5),
    Shape((STRAIGHT, FIST, FIST, STRAIGHT), _OUT, spread=0.8),
    Shape((FIST, STRAIGHT, FIST, FIST), _FOLDED, near=1),
    Shape((FIST, STRAIGHT, STRAIGHT, FIST), _FOLDED, near=1),
    Shape((STRAIGHT, STRAIGHT, FIST, STRAIGHT), _FOLDED, near=2, spread=1.0),
]
"""Combinations of raised fingers that are no letter: horns without and with the thumb, the middle finger alone, …"""


def recorded(path: Path) -> list[Source]:
    """The sources in an .npz file of NAME__x float32[n, 21, 3] and NAME__y letters."""
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
    """The aspect ratio, 1 to 1.78, at which the median palm has an adult's proportions."""

    def off(aspect: float) -> float:
        flat = hands[..., :2] * np.asarray([aspect, 1.0], np.float32)
        across = np.linalg.norm(flat[:, 5] - flat[:, 17], axis=-1)
        return abs(float(np.median(across / np.linalg.norm(flat[:, 9], axis=-1))) - _PALM_RATIO)

    return min((float(one) for one in np.arange(1.0, 1.79, 0.01)), key=off)


def _sides(hands: Floats, letters: NDArray[np.str_]) -> Floats:
    """1, or -1 for rows that show a hand of the other side. A source with hands of one side is judged as a whole."""
    turn = hands[:, 5, 0] * hands[:, 17, 1] - hands[:, 5, 1] * hands[:, 17, 0]
    pointing = hands[:, 5, 0] - hands[:, 8, 0]
    side = np.sign(np.where(np.isin(letters, list(_SIDEWAYS)), pointing, turn))
    facing = ~np.isin(letters, list("GHPQC"))
    share = float((side[facing] > 0).mean())
    if 0.1 < share < 0.9:
        return np.asarray(np.where(side == 0, 1.0, side), np.float32)
    return np.full(len(hands), 1.0 if share > 0.5 else -1.0, np.float32)


def synthetic(rng: np.random.Generator, each: int = SYNTHETIC_EACH, weight: float = SYNTHETIC_WEIGHT) -> Source:
    """`each` varied hands per letter, and as many that show none."""
    hands = [pose(SHAPES[letter], _varied(rng, each, HABITS.get(letter, Habit()))) for letter in STATIC]
    hands = [_special(letter, one, rng) for letter, one in zip(STATIC, hands, strict=True)]
    none = [pose(shape, _varied(rng, each // len(NO_LETTERS), Habit())) for shape in NO_LETTERS]
    whole = np.concatenate([*hands, *none])
    whole[..., 2] *= rng.uniform(0.45, 1.0, (len(whole), 1)).astype(np.float32)
    labels = np.repeat(np.arange(len(STATIC)), each)
    labels = np.concatenate([labels, np.full(len(whole) - len(labels), NO_LETTER)])
    return Source("synthetic", resize(whole), labels, True, weight)


def _varied(rng: np.random.Generator, count: int, habit: Habit) -> Variation:
    def normal(sd: float, *shape: int) -> Floats:
        return rng.normal(0, sd, (count, *shape)).astype(np.float32)

    return Variation(
        flexion=normal(habit.flexion, 1, 3) + normal(8, 4, 3),
        spread=normal(habit.spread, 4),
        width=np.exp(normal(0.1)),
        lengths=np.exp(normal(0.06, 4, 3)),
        thumb=normal(1.0, 3) * np.asarray(habit.thumb, np.float32),
        view=rng.random(count, np.float32),
        direction=rng.random(count, np.float32),
    )


def _special(letter: str, hands: Floats, rng: np.random.Generator) -> Floats:
    """Particular habits: Y tilted and, by two in five, shown from the back; G pointing the other way by some."""
    turned = rng.random(len(hands)) < {"Y": 0.4, "G": 0.12}.get(letter, 0.0)
    if letter == "Y":
        hands[turned] *= np.asarray([-1, 1, -1], np.float32)
        return _tilted(hands, rng.normal(0, _TILT, len(hands)))
    if letter == "G":
        hands[turned, :, 0] *= -1
    return hands


def _tilted(hands: Floats, degrees: NDArray[np.float64]) -> Floats:
    """Rotated in the picture's plane."""
    turn = np.radians(degrees).astype(np.float32)[:, None]
    x, y = hands[..., 0], hands[..., 1]
    turned = [x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn), hands[..., 2]]
    return np.stack(turned, axis=-1)
