"""How far a heart rate can be trusted, and why there is none.

A rate is shown only when every gate is passed; otherwise the reason is the first gate that failed. The limits come from
real recordings and from signals without a heartbeat (see docs/signals.md), not from a clinical study.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Self


class Reason(Enum):
    """Why a reading is what it is: a code for programs and a sentence for physicians."""

    sentence: str

    def __new__(cls, code: str, sentence: str) -> Self:
        member = object.__new__(cls)
        member._value_ = code
        member.sentence = sentence
        return member

    GOOD = "good", "The beats are regular and alike, and two ways of counting them agree."
    HELD = "held", "The rate of a few seconds ago: at this moment the beats cannot be counted with certainty."
    UNCONFIRMED = "unconfirmed", "A rate was seen, but not yet for long enough to be sure of it."
    TOO_SHORT = "too_short", "Not enough unbroken signal yet: a rate needs eight seconds."
    FLAT = "flat", "The sensor sends the same value all the time: it is not measuring."
    WEAK = "weak", "The vibration is weaker than any heartbeat on a chest: the sensor seems not to be worn."
    MOTION = "motion", "The patient or the sensor is moving, and that hides the heartbeat."
    NO_RHYTHM = "no_rhythm", "Nothing in the vibration repeats like a heartbeat."
    OUT_OF_RANGE = (
        "out_of_range",
        "The vibration repeats faster or slower than can be counted (40 to 180 a minute).",
    )
    HALF_OR_DOUBLE = "half_or_double", "Half or twice the rate would fit as well, so neither is shown."
    DISAGREEMENT = "disagreement", "Two ways of counting the beats do not agree."


class Reading(NamedTuple):
    """A heart rate, or the reason why there is none.

    bpm: beats per minute or None. quality: 0 to 1, how periodic the vibration and how similar the beats are. beat_ms
    and beat_sd_ms: median time between beats and its spread from beat to beat, in ms; None where single beats were not
    found.
    """

    bpm: float | None
    quality: float
    reason: Reason
    beat_ms: float | None = None
    beat_sd_ms: float | None = None


def none(reason: Reason, quality: float = 0.0) -> Reading:
    return Reading(None, quality, reason)
