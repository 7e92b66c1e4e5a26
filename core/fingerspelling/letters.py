"""Letters from hands: a small trained network with calibrated confidence; below a calibrated limit the answer is
"unsure".

The weights are bytes given to `Network.unpack`; this module reads no file. The network sees one frame at a time:
`motion` recognises the moving letters (J, Z), and `sequence` decides which letters were held long enough.
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
"""File name of the weights beside this module; the programs read it and pass its bytes."""
_MAGIC = b"HSFL"
_HEAD = struct.Struct("<4sI")


class DamagedWeights(ValueError):
    """The bytes are not a packed network, or are incomplete."""


def softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float32)


@dataclass(frozen=True, slots=True)
class Reading:
    """The result for one hand.

    `letter` is None when unsure; `likely` holds the most probable letters and their probabilities.
    """

    letter: str | None
    confidence: float
    likely: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Network:
    """Feature scaling, two hidden layers (SiLU) and a last layer.

    `temperature` and `sure` were calibrated on people not in the training data. The array `rehearsal` holds embeddings
    (with labels) that keep a refit from forgetting.
    """

    arrays: dict[str, Floats]
    temperature: float = 1.0
    sure: float = 0.7
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, mean: Floats, deviation: Floats, layers: list[tuple[Floats, Floats]]) -> Network:
        """Build from mean and deviation [274] and each layer's weight [in, out] and bias [out]."""
        arrays = {"mean": mean, "deviation": deviation}
        for index, (weight, bias) in enumerate(layers):
            arrays |= {f"w{index}": weight, f"b{index}": bias}
        return cls(arrays)

    def embed(self, given: Floats) -> Floats:
        """float32[n, 64] for features float32[n, 274]: the input of the last layer, common or personal."""
        flowing = (given - self.arrays["mean"]) / self.arrays["deviation"]
        for index in (0, 1):
            before = flowing @ self.arrays[f"w{index}"] + self.arrays[f"b{index}"]
            flowing = before / (1 + np.exp(-before))
        return np.asarray(flowing, np.float32)

    @property
    def last(self) -> tuple[Floats, Floats]:
        return self.arrays["w2"], self.arrays["b2"]

    def pack(self) -> bytes:
        """A JSON header, then the arrays as float16 in the header's order."""
        shapes = {name: list(array.shape) for name, array in self.arrays.items()}
        head = {"arrays": shapes, "temperature": self.temperature, "sure": self.sure, "facts": self.facts}
        text = json.dumps(head).encode()
        body = b"".join(array.astype("<f2").tobytes() for array in self.arrays.values())
        return _HEAD.pack(_MAGIC, len(text)) + text + body

    @classmethod
    def unpack(cls, data: bytes) -> Network:
        """The network packed into `data`. Raises DamagedWeights."""
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
    """Reads one person's hands; `last` is that person's own last layer, if they have calibrated."""

    network: Network
    last: tuple[Floats, Floats] | None = None

    def chances(self, hands: Floats, *, has_z: bool) -> Floats:
        """Probabilities float32[n, 24] over STATIC, for normalised hands float32[n, 21, 3]."""
        weight, bias = self.last or self.network.last
        logits = self.network.embed(features(hands, has_z=has_z)) @ weight + bias
        return softmax(logits / np.float32(self.network.temperature))

    def read(self, landmarks: Floats, *, aspect: float, right: bool) -> Reading:
        """Read one detected hand: float32[21, 2 or 3], 0..1 of an unmirrored picture whose width over height is
        `aspect`.
        """
        hand = normalise(landmarks, aspect=aspect, mirror=right)
        has_z = landmarks.shape[-1] > 2
        return self.judge(self.chances(hand[None], has_z=has_z)[0])

    def judge(self, chances: Floats) -> Reading:
        """Turn probabilities float32[24] over STATIC into a reading with the three likeliest; no letter below
        `sure`.
        """
        order = np.argsort(chances)[::-1][:3]
        likely = tuple((STATIC[int(index)], round(float(chances[index]), 4)) for index in order)
        best, confidence = likely[0]
        return Reading(best if confidence >= self.network.sure else None, confidence, likely)
