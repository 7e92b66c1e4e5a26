"""A small multilayer perceptron with its gradients and AdamW, in numpy: enough to train letters in seconds.

Three layers, SiLU between them, dropout after each hidden one. Decoupled weight decay after Loshchilov and Hutter
(2019), learning rate one cycle after Smith (2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from core.fingerspelling.hand import Floats
from core.fingerspelling.letters import softmax

Layers = list[tuple[Floats, Floats]]
Batch = Callable[[np.random.Generator], tuple[Floats, Floats]]
"""Features float32[n, f] and soft labels float32[n, k]."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to train, and the rates used."""

    hidden: tuple[int, ...]
    steps: int
    rate: float = 3e-3
    dropout: float = 0.3
    decay: float = 0.02


def fresh(sizes: tuple[int, ...], rng: np.random.Generator) -> Layers:
    """He-scaled weights."""
    return [
        (rng.normal(0, math.sqrt(2 / before), (before, after)).astype(np.float32), np.zeros(after, np.float32))
        for before, after in pairwise(sizes)
    ]


def train(batch: Batch, width: int, classes: int, plan: Plan, rng: np.random.Generator) -> Layers:
    """Train layers on successive batches, by cross-entropy with soft labels."""
    layers = fresh((width, *plan.hidden, classes), rng)
    first = [(np.zeros_like(w), np.zeros_like(b)) for w, b in layers]
    second = [(np.zeros_like(w), np.zeros_like(b)) for w, b in layers]
    for step in range(1, plan.steps + 1):
        inputs, wanted = batch(rng)
        gradients = _gradients(layers, inputs, wanted, plan.dropout, rng)
        rate = _one_cycle(plan.rate, step / plan.steps)
        for index, pair in enumerate(gradients):
            layers[index] = _adamw(layers[index], pair, first[index], second[index], step, rate, plan.decay)
    return layers


def _one_cycle(peak: float, place: float) -> float:
    warm = 0.25
    if place < warm:
        return peak * (0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * place / warm)))
    return peak * 0.5 * (1 + math.cos(math.pi * (place - warm) / (1 - warm))) + 1e-6


def _gradients(layers: Layers, inputs: Floats, wanted: Floats, dropout: float, rng: np.random.Generator) -> Layers:
    """The gradients: forward with dropout, then backward."""
    kept: list[tuple[Floats, Floats, Floats]] = []
    flowing = inputs
    for weight, bias in layers[:-1]:
        before = flowing @ weight + bias
        gate = 1 / (1 + np.exp(-before))
        mask = (rng.random(before.shape, np.float32) >= dropout).astype(np.float32) / np.float32(1 - dropout)
        kept.append((flowing, mask * (gate * (1 + before * (1 - gate))), mask))
        flowing = before * gate * mask
    weight, bias = layers[-1]
    error = (softmax(flowing @ weight + bias) - wanted) / np.float32(len(inputs))
    found: Layers = [(flowing.T @ error, error.sum(0))]
    for index in range(len(layers) - 2, -1, -1):
        entered, slope, _ = kept[index]
        error = (error @ layers[index + 1][0].T) * slope
        found.insert(0, (np.asarray(entered.T @ error, np.float32), np.asarray(error.sum(0), np.float32)))
    return found


def _adamw(
    layer: tuple[Floats, Floats],
    gradient: tuple[Floats, Floats],
    first: tuple[Floats, Floats],
    second: tuple[Floats, Floats],
    step: int,
    rate: float,
    decay: float,
) -> tuple[Floats, Floats]:
    updated = []
    for value, slope, mean, spread, fade in zip(layer, gradient, first, second, (decay, 0.0), strict=True):
        mean += 0.1 * (slope - mean)
        spread += 0.01 * (slope * slope - spread)
        direction = (mean / (1 - 0.9**step)) / (np.sqrt(spread / (1 - 0.99**step)) + 1e-8)
        updated.append((value - rate * (direction + fade * value)).astype(np.float32))
    return updated[0], updated[1]
