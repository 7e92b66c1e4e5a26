"""Adapting to one person's hand: the network's last layer is refitted on a few pictures of their letters, in a fraction
of a second.

Embeddings of many other people's letters are trained along with them, each side with half the weight, so that letters
not calibrated are not forgotten. Leave out the first moments of each letter, while the hand is still moving.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.fingerspelling.hand import Floats
from core.fingerspelling.letters import STATIC, Network, softmax

STEPS, RATE = 150, 0.02


def refit(network: Network, embeddings: Floats, labels: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """A last layer for one person, from float32[n, 64] embeddings of their hand and the letters' indices in STATIC."""
    weight, bias = (part.copy() for part in network.last)
    old, old_labels = network.arrays["rehearsal"], network.arrays["rehearsal_labels"].astype(np.int64)
    inputs = np.concatenate([embeddings, old])
    wanted = np.eye(len(STATIC), dtype=np.float32)[np.concatenate([labels, old_labels])]
    shares = np.concatenate([_even(labels), _even(old_labels)])[:, None] * np.float32(0.5)
    weight, bias = _descend(weight, bias, inputs, wanted, shares)
    return weight, bias


def _even(labels: NDArray[np.int64]) -> Floats:
    """Weights that give each letter the same influence; they sum to 1."""
    each = np.bincount(labels, minlength=len(STATIC))
    return np.asarray(1.0 / each[labels] / max((each > 0).sum(), 1), np.float32)


def _descend(weight: Floats, bias: Floats, inputs: Floats, wanted: Floats, shares: Floats) -> tuple[Floats, Floats]:
    """Adam on the weighted cross-entropy, full batch."""
    values = [weight, bias]
    mean = [np.zeros_like(one) for one in values]
    spread = [np.zeros_like(one) for one in values]
    for step in range(1, STEPS + 1):
        error = (softmax(inputs @ values[0] + values[1]) - wanted) * shares
        for index, slope in enumerate((inputs.T @ error, error.sum(0))):
            mean[index] = 0.9 * mean[index] + 0.1 * slope
            spread[index] = 0.999 * spread[index] + 0.001 * slope * slope
            scale = np.sqrt(spread[index] / (1 - 0.999**step)) + 1e-8
            values[index] = values[index] - RATE * (mean[index] / (1 - 0.9**step)) / scale
    return np.asarray(values[0], np.float32), np.asarray(values[1], np.float32)
