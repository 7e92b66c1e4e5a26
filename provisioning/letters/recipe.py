"""How the letter model is trained: three teachers on augmented hands, and one small student that learns from all of
them.

Each teacher starts from other weights and drops other units; the student learns what they agree on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from core.fingerspelling.features import COUNT, features
from core.fingerspelling.hand import Floats
from core.fingerspelling.letters import STATIC, Network, softmax
from provisioning.letters.augment import augmented
from provisioning.letters.network import Layers, Plan, train
from provisioning.letters.sources import NO_LETTER, Source

BATCH, BATCHES = 384, 400
SMOOTHING = 0.1
TEACHERS = 3
TEACHER = Plan(hidden=(160, 96), steps=1000)
STUDENT = Plan(hidden=(128, 64), steps=1600, dropout=0.1)


class Lessons:
    """Batches of augmented hands as scaled features and labels; made once, and given to each teacher in another order.

    Letters are drawn evenly, then sources by weight, then rows.
    """

    def __init__(self, sources: Sequence[Source], rng: np.random.Generator) -> None:
        hands = np.concatenate([one.hands for one in sources])
        labels = np.concatenate([one.labels for one in sources])
        has_z = np.concatenate([np.full(len(one.hands), one.has_z, np.float32) for one in sources])
        edges = np.cumsum(_chances(sources))
        rows = np.searchsorted(edges, rng.random((BATCHES, BATCH)) * edges[-1]).clip(0, len(edges) - 1)
        self.inputs = np.empty((BATCHES, BATCH, COUNT), np.float32)
        self.labels = labels[rows]
        for index, chosen in enumerate(rows):
            varied, kept = augmented(hands[chosen], has_z[chosen], rng)
            self.inputs[index] = features(varied, has_z=kept)
        self.mean = self.inputs.mean((0, 1))
        self.deviation = self.inputs.std((0, 1)) + np.float32(1e-2)
        self.inputs = (self.inputs - self.mean) / self.deviation


def _chances(sources: Sequence[Source]) -> NDArray[np.float64]:
    weights = np.zeros(NO_LETTER + 1)
    for one in sources:
        weights[np.unique(one.labels)] += one.weight
    rows = []
    for one in sources:
        each = np.bincount(one.labels, minlength=NO_LETTER + 1)
        rows.append(one.weight / weights[one.labels] / each[one.labels])
    return np.concatenate(rows)


def teach(sources: Sequence[Source], seed: int, told: Callable[[str], None]) -> Network:
    """The student of TEACHERS teachers, all trained on `sources`."""
    rng = np.random.default_rng(seed)
    lessons = Lessons(sources, rng)
    told(f"{BATCHES} batches of {BATCH} hands")
    teachers = []
    for number in range(TEACHERS):
        teachers.append(teacher(lessons, rng))
        told(f"teacher {number + 1} of {TEACHERS}")
    softened = np.stack(
        [np.mean([softmax(forward(one, batch)) for one in teachers], axis=0) for batch in lessons.inputs]
    )

    def lesson(rng: np.random.Generator) -> tuple[Floats, Floats]:
        chosen = int(rng.integers(BATCHES))
        return lessons.inputs[chosen], softened[chosen]

    layers = train(lesson, COUNT, len(STATIC), STUDENT, rng)
    told("student")
    return Network.of(lessons.mean, lessons.deviation, layers)


def teacher(lessons: Lessons, rng: np.random.Generator) -> Layers:
    off, on = SMOOTHING / len(STATIC), 1 - SMOOTHING
    truth = np.full((NO_LETTER + 1, len(STATIC)), 1 / len(STATIC), np.float32)
    truth[:NO_LETTER] = off + np.eye(len(STATIC), dtype=np.float32) * on

    def lesson(rng: np.random.Generator) -> tuple[Floats, Floats]:
        chosen = int(rng.integers(BATCHES))
        return lessons.inputs[chosen], truth[lessons.labels[chosen]]

    return train(lesson, COUNT, len(STATIC), TEACHER, rng)


def forward(layers: Layers, inputs: Floats) -> Floats:
    """Logits without dropout."""
    for weight, bias in layers[:-1]:
        before = inputs @ weight + bias
        inputs = before / (1 + np.exp(-before))
    weight, bias = layers[-1]
    return np.asarray(inputs @ weight + bias, np.float32)
