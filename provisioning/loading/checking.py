"""Compares what kits were told is stored with what a relay returns: nothing lost, nothing twice, in order. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from provisioning.loading.kits import STEP_MS, curve


@dataclass
class Verdict:
    """Counts of samples over all sessions. `lost`: acknowledged but missing; `wrong`: stored with another value."""

    expected: int = 0
    stored: int = 0
    lost: int = 0
    double: int = 0
    disordered: int = 0
    wrong: int = 0
    unasked: int = 0

    @property
    def good(self) -> bool:
        return not (self.lost or self.double or self.disordered or self.wrong or self.unasked)

    def add(self, start_ms: int, per_batch: int, told: Iterable[int], samples: list[list[float]]) -> None:
        """Check one session: batch k has sequence number k + 2, because the session's start has 1."""
        numbers = [round((sample[0] - start_ms) / STEP_MS) for sample in samples]
        there = set(numbers)
        expected = {(seq - 2) * per_batch + k for seq in told if seq >= 2 for k in range(per_batch)}
        self.expected += len(expected)
        self.stored += len(samples)
        self.lost += len(expected - there)
        self.double += len(numbers) - len(there)
        self.disordered += sum(after < before for before, after in pairwise(numbers))
        self.wrong += sum(sample[3] != curve(number) for sample, number in zip(samples, numbers, strict=True))
        self.unasked += sum(number < 0 for number in there)
