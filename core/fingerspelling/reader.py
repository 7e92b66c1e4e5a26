"""One person's hand, picture by picture, as signs: letters by the network, digits by geometry, J and Z by their path.

Each `Sight` carries the likeliest letters with their probabilities, so that later stages need no landmarks.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from core.fingerspelling.digits import TWINS, digit
from core.fingerspelling.hand import MCPS, Floats, normalise
from core.fingerspelling.letters import LetterReader
from core.fingerspelling.motion import SURE, Drawing
from core.fingerspelling.sequence import OPEN_HAND, Sight

Alphabet = Literal["letters", "digits", "both"]
_SMOOTHING, _SMALLEST = 0.1, 1e-6
_PLAIN_DIGITS = frozenset("34578")
"""Digits that look like no letter, so that they can be recognised along with letters."""


class SignReader:
    """Reads one hand. One instance per person: it keeps the path of the fingertips."""

    def __init__(self, letters: LetterReader, alphabet: Alphabet = "both") -> None:
        self._letters = letters
        self._alphabet = alphabet
        self._drawing = Drawing()
        self._palm: float | None = None

    def nothing(self, t_ms: float) -> Sight:
        """Take in a picture without a hand."""
        self._drawing.lost()
        self._palm = None
        return Sight(t_ms, None, hand=False)

    def see(self, t_ms: float, landmarks: Floats, *, aspect: float, right: bool) -> Sight:
        """Take in a picture with a hand: float32[21, 2 or 3], 0..1 of the unmirrored picture."""
        hand = normalise(landmarks, aspect=aspect, mirror=right)
        x, y = self._place(landmarks, aspect, right=right)
        drawn = self._drawing.see(t_ms, hand, (x, y)) if self._alphabet != "digits" else None
        if drawn is not None:
            return Sight(t_ms, drawn, SURE, ((drawn, SURE),), x=x, y=y)
        sign, confidence, likely = self._still(hand, landmarks.shape[-1] > 2)
        return Sight(t_ms, sign, confidence, likely, x=x, y=y)

    def _still(self, hand: Floats, has_z: bool) -> tuple[str | None, float, tuple[tuple[str, float], ...]]:
        number, clear = digit(hand)
        if self._alphabet == "digits":
            return number, clear, ((number, clear),) if number else ()
        reading = self._letters.judge(self._letters.chances(hand[None], has_z=has_z)[0])
        if number == OPEN_HAND or (self._alphabet == "both" and number in _PLAIN_DIGITS):
            return number, clear, ((number, clear), *reading.likely[:2])
        twin = TWINS.get(reading.letter or "")
        extra = ((twin, round(1 - reading.confidence, 4)),) if twin and self._alphabet == "both" else ()
        return reading.letter, reading.confidence, (*reading.likely, *extra)

    def _place(self, landmarks: Floats, aspect: float, *, right: bool) -> tuple[float, float]:
        """Position of the wrist in palm lengths, on the canonical side.

        The palm is smoothed, so its noise is not motion.
        """
        flat = landmarks[:, :2] * np.asarray([-aspect if right else aspect, 1.0], np.float32)
        palm = max(float(np.linalg.norm(flat[list(MCPS)] - flat[0], axis=-1).mean()), _SMALLEST)
        self._palm = palm if self._palm is None else self._palm + _SMOOTHING * (palm - self._palm)
        return float(flat[0, 0]) / self._palm, float(flat[0, 1]) / self._palm
