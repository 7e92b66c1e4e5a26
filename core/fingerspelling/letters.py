"""Letters from hands: a small trained network, its honest confidence, and "unsure" below the confidence that was
calibrated.

The weights are bytes given to `Network.unpack`; this module reads no file. The network sees one frame at a time; what
moves (J, Z) is `motion`'s, what holds is `sequence`'s.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.fingerspelling.features import features
from core.fingerspelling.hand import Floats, normalise

STATIC = "ABCDEFGHIKLMNOPQRSTUVWXY"
"""The letters that are held still; J and Z are drawn in the air."""
WEIGHTS_FILE = "letters.weights"
"""Beside this module; whoever has files reads it."""
_MAGIC = b"HSFL"
_HEAD = struct.Struct("<4sI")


class DamagedWeights(ValueError):
    """Bytes that are no packed network, or not whole."""


def softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float32)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a hand was read as. `letter` is None when unsure; `likely` holds the best letters with their chances."""

    letter: str | None
    confidence: float
    likely: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Network:
    """Feature scaling, two hidden layers (SiLU) and a last one; `temperature` and `sure` were calibrated on people
    the weights were not trained on. `rehearsal` are embeddings and labels that keep a refit from forgetting."""

    arrays: dict[str, Floats]
    temperature: float = 1.0
    sure: float = 0.7
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, mean: Floats, deviation: Floats, layers: list[tuple[Floats, Floats]]) -> Network:
        """From mean and deviation [274] and (weight [in, out], bias [out]) of each layer."""
        arrays = {"mean": mean, "deviation": deviation}
        for index, (weight, bias) in enumerate(layers):
            arrays |= {f"w{index}": weight, f"b{index}": bias}
        return cls(arrays)

    def embed(self, given: Floats) -> Floats:
        """float32[n, 64] of features float32[n, 274]: what the last layer, and a person's own, look at."""
        flowing = (given - self.arrays["mean"]) / self.arrays["deviation"]
        for index in (0, 1):
            before = flowing @ self.arrays[f"w{index}"] + self.arrays[f"b{index}"]
            flowing = before / (1 + np.exp(-before))
        return np.asarray(flowing, np.float32)

    @property
    def last(self) -> tuple[Floats, Floats]:
        return self.arrays["w2"], self.arrays["b2"]

    def pack(self) -> bytes:
        """A header of JSON, then the arrays as float16 in its order."""
        shapes = {name: list(array.shape) for name, array in self.arrays.items()}
        head = {"arrays": shapes, "temperature": self.temperature, "sure": self.sure, "facts": self.facts}
        text = json.dumps(head).encode()
        body = b"".join(array.astype("<f2").tobytes() for array in self.arrays.values())
        return _HEAD.pack(_MAGIC, len(text)) + text + body

    @classmethod
    def unpack(cls, data: bytes) -> Network:
        """Raises DamagedWeights."""
        try:
            magic, size = _HEAD.unpack_from(data)
            if magic != _MAGIC:
                raise DamagedWeights("these are not letter weights")
            head = json.loads(data[_HEAD.size : _HEAD.size + size])
            arrays, offset = {}, _HEAD.size + size
            for name, shape in head["arrays"].items():
                count = int(np.prod(shape))
                part = np.frombuffer(data, "<f2", count, offset)
                arrays[name] = part.reshape(shape).astype(np.float32)
                offset += 2 * count
            return cls(arrays, head["temperature"], head["sure"], head["facts"])
        except (struct.error, KeyError, TypeError, ValueError) as error:
            raise DamagedWeights(f"letter weights cannot be read: {error}") from None


@dataclass(frozen=True, slots=True)
class LetterReader:
    """Reads one person's hands; `last` is that person's own last layer when they have calibrated."""

    network: Network
    last: tuple[Floats, Floats] | None = None

    def chances(self, hands: Floats, *, has_z: bool) -> Floats:
        """float32[n, 24] over STATIC, of normalised hands float32[n, 21, 3]."""
        weight, bias = self.last or self.network.last
        logits = self.network.embed(features(hands, has_z=has_z)) @ weight + bias
        return softmax(logits / np.float32(self.network.temperature))

    def read(self, landmarks: Floats, *, aspect: float, right: bool) -> Reading:
        """One hand as a detector gives it: float32[21, 2 or 3], 0-1 of an unmirrored picture `aspect` wide to high."""
        hand = normalise(landmarks, aspect=aspect, mirror=right)
        has_z = landmarks.shape[-1] > 2
        return self.judge(self.chances(hand[None], has_z=has_z)[0])

    def judge(self, chances: Floats) -> Reading:
        """Chances float32[24] over STATIC as a reading: no letter below `sure`, and the three likeliest."""
        order = np.argsort(chances)[::-1][:3]
        likely = tuple((STATIC[int(index)], round(float(chances[index]), 4)) for index in order)
        best, confidence = likely[0]
        return Reading(best if confidence >= self.network.sure else None, confidence, likely)
