"""How well letters are read on people not in the training data: one source left out at a time, per letter and overall.

The same held-out readings give the temperature, the confidence from which a letter counts as sure, and the misreadings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.fingerspelling.calibration import refit
from core.fingerspelling.features import features
from core.fingerspelling.hand import Floats
from core.fingerspelling.letters import STATIC, LetterReader, Network, softmax
from provisioning.letters.sources import Source

ACCURATE = 0.95
"""The promise of "sure": this share of sure readings is correct."""
SHOWN = 5
"""Pictures per letter used to calibrate."""


@dataclass(frozen=True, slots=True)
class Held:
    """A source left out of training: logits float32[n, 24], labels, and the accuracy after calibration."""

    name: str
    logits: Floats
    labels: NDArray[np.int64]
    calibrated: float

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.logits.argmax(1) == self.labels)

    def per_letter(self) -> dict[str, float]:
        return {STATIC[one]: float(self.right[self.labels == one].mean()) for one in np.unique(self.labels)}

    @property
    def macro(self) -> float:
        return float(np.mean(list(self.per_letter().values())))


def judge(network: Network, source: Source) -> Held:
    given = features(source.hands, has_z=source.has_z)
    embedded = network.embed(given)
    weight, bias = network.last
    return Held(source.name, embedded @ weight + bias, source.labels, _after_calibration(network, source, embedded))


def _after_calibration(network: Network, source: Source, embedded: Floats) -> float:
    """Macro accuracy on the remaining pictures after refitting the last layer on SHOWN pictures per letter of this
    person.
    """
    rng = np.random.default_rng(5)
    rows = [np.flatnonzero(source.labels == one) for one in np.unique(source.labels)]
    shown = np.concatenate([rng.choice(of[len(of) // 5 :], min(SHOWN, len(of)), replace=False) for of in rows])
    weight, bias = refit(network, embedded[shown], source.labels[shown])
    rest = np.setdiff1d(np.arange(len(embedded)), shown)
    right = (embedded[rest] @ weight + bias).argmax(1) == source.labels[rest]
    return float(np.mean([right[source.labels[rest] == one].mean() for one in np.unique(source.labels[rest])]))


def temperature(held: Sequence[Held]) -> float:
    """The temperature with the best-calibrated confidences: least negative log-likelihood, every source and letter
    weighted equally.
    """

    def cost(at: float) -> float:
        return float(np.mean([_nll(one, at) for one in held]))

    return min((float(one) for one in np.arange(0.5, 3.01, 0.05)), key=cost)


def _nll(held: Held, at: float) -> float:
    chances = softmax(held.logits / np.float32(at))[np.arange(len(held.labels)), held.labels]
    each = [-np.log(np.maximum(chances[held.labels == one], 1e-6)).mean() for one in np.unique(held.labels)]
    return float(np.mean(each))


@dataclass(frozen=True, slots=True)
class Sureness:
    """At confidence `at`: the share of readings that are sure, and the share of those that are right, averaged over
    sources.
    """

    at: float
    coverage: float
    accuracy: float


def sureness(held: Sequence[Held], heat: float, at: float) -> Sureness:
    coverage, accuracy = [], []
    for one in held:
        sure = softmax(one.logits / np.float32(heat)).max(1) >= at
        letters = [one.labels == letter for letter in np.unique(one.labels)]
        coverage.append(float(np.mean([sure[of].mean() for of in letters])))
        accuracy.append(float(one.right[sure].mean()) if sure.any() else 1.0)
    return Sureness(at, float(np.mean(coverage)), float(np.mean(accuracy)))


def sure_from(held: Sequence[Held], heat: float) -> Sureness:
    """The lowest confidence at which ACCURATE holds; the highest one tried, when none does."""
    looked = [sureness(held, heat, float(at)) for at in np.arange(0.4, 0.96, 0.02)]
    return next((one for one in looked if one.accuracy >= ACCURATE), looked[-1])


def misread(held: Sequence[Held]) -> dict[str, dict[str, float]]:
    """For each letter, the distribution of its misreadings, without letters below two percent."""
    counts = np.zeros((len(STATIC), len(STATIC)))
    for one in held:
        for meant in np.unique(one.labels):
            counts[meant] += (
                np.bincount(one.logits[one.labels == meant].argmax(1), minlength=len(STATIC))
                / (one.labels == meant).sum()
            )
    np.fill_diagonal(counts, 0)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1e-9)
    return {
        STATIC[meant]: {
            STATIC[read]: round(float(shares[meant, read]), 3) for read in np.flatnonzero(shares[meant] > 0.02)
        }
        for meant in range(len(STATIC))
        if counts[meant].sum() > 0
    }


def rehearsed(network: Network, sources: Sequence[Source], rng: np.random.Generator, each: int = 50) -> Network:
    """The network with embeddings of `each` hands per letter, evenly from its sources, for use in refitting."""
    hands, labels = [], []
    for letter in range(len(STATIC)):
        having = [one for one in sources if (one.labels == letter).any()]
        for number in range(each):
            source = having[number % len(having)]
            row = int(rng.choice(np.flatnonzero(source.labels == letter)))
            hands.append(features(source.hands[row : row + 1], has_z=source.has_z))
            labels.append(letter)
    embedded = network.embed(np.concatenate(hands))
    arrays = network.arrays | {"rehearsal": embedded, "rehearsal_labels": np.asarray(labels, np.float32)}
    return Network(arrays, network.temperature, network.sure, network.facts)


def reader_time_us(network: Network, hand: Floats, now: Callable[[], float]) -> float:
    """Median time in µs for one hand, including features."""
    reader, took = LetterReader(network), []
    for _ in range(200):
        began = now()
        reader.chances(hand[None], has_z=True)
        took.append(now() - began)
    return float(np.median(took)) * 1e6
