"""Somebody who spells: landmarks at 15 pictures a second, from the kinematic hand, with noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import core.fingerspelling
from core.fingerspelling.hand import Floats
from core.fingerspelling.letters import WEIGHTS_FILE, LetterReader, Network
from core.fingerspelling.reader import SignReader
from core.fingerspelling.sequence import Sequence, Taken
from core.fingerspelling.shapes import SHAPES, Variation, pose

RATE_MS = 1000 / 15
ASPECT = 4 / 3
PALM = 0.22
"""A palm's length as a share of the picture's height."""


def network() -> Network:
    return Network.unpack((Path(core.fingerspelling.__path__[0]) / WEIGHTS_FILE).read_bytes())


def seen(
    hand: Floats, *, place: tuple[float, float] = (0.0, 0.0), right: bool = False, aspect: float = ASPECT
) -> Floats:
    """A hand in palm lengths as a detector gives it: 0-1 of a picture; `place` moves it, in palm lengths."""
    moved = hand + np.asarray([*place, 0.0], np.float32)
    if right:
        moved = moved * np.asarray([-1, 1, 1], np.float32)
    scaled = moved * PALM
    scaled[:, 0] /= aspect
    scaled[:, 2] /= aspect
    return np.asarray(scaled + np.asarray([0.5, 0.8, 0.0], np.float32), np.float32)


def held(sign: str) -> Floats:
    varied = Variation.none()
    varied.view[:] = 0.35
    return pose(SHAPES[sign], varied)[0]


@dataclass
class Speaker:
    """Spells signs one after the other. `pictures` gives (ms, landmarks or None)."""

    seed: int = 0
    hold_ms: float = 900.0
    noise: float = 0.012
    right: bool = False

    def pictures(self, signs: str, rest_ms: float = 2400.0) -> Iterator[tuple[float, Floats | None]]:
        rng = np.random.default_rng(self.seed)
        t, before = 0.0, None
        for sign in signs:
            for hand in self._way(before, sign):
                noisy = hand + rng.normal(0, self.noise, hand.shape).astype(np.float32)
                yield t, seen(noisy, right=self.right)
                t += RATE_MS
            before = sign
        for _ in range(int(rest_ms / RATE_MS)):
            yield t, None
            t += RATE_MS

    def _way(self, before: str | None, sign: str) -> Iterator[Floats]:
        """A letter begins on its way from the one before; a letter twice, with the hand opened in between."""
        goal = held(sign)
        if before is not None:
            start = held("5") if before == sign else held(before)
            for share in (0.0, 0.2, 0.4, 0.7) if before == sign else (0.25, 0.5, 0.75):
                yield start + (goal - start) * np.float32(share)
        for _ in range(int(self.hold_ms / RATE_MS)):
            yield goal


def spell(pictures: Iterator[tuple[float, Floats | None]], reader: LetterReader, **options: str) -> list[list[Taken]]:
    """The sequences a reader commits."""
    hand = SignReader(reader, options.get("alphabet", "both"))  # type: ignore[arg-type]
    spelling, found = Sequence(digits=options.get("alphabet") == "digits"), []
    right = options.get("right") == "yes"
    for t_ms, landmarks in pictures:
        sight = hand.nothing(t_ms) if landmarks is None else hand.see(t_ms, landmarks, aspect=ASPECT, right=right)
        spelling.see(sight)
        if spelling.quiet(t_ms):
            found.append(spelling.commit())
    return found


def misspelled(text: str, rng: np.random.Generator, share: float = 0.05) -> str:
    """Each letter read otherwise with a chance of `share`: half as the letter model misreads, half as anything."""
    facts = network().facts["misread"]

    def read(letter: str) -> str:
        likely = facts.get(letter.upper())
        if rng.random() >= share:
            return letter
        if likely and rng.random() < 0.5:
            weights = np.asarray(list(likely.values()))
            return str(rng.choice(list(likely), p=weights / weights.sum())).lower()
        return str(rng.choice(list("abcdefghijklmnopqrstuvwxyz")))

    return "".join(read(letter) for letter in text)
