"""A faulty line: frames lost singly or in bursts, and flipped bits. Reproducible by a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from firmware_bridge.errors import SimulationError


@dataclass(frozen=True, slots=True)
class Faults:
    """`loss`: share of frames lost; `burst`: mean number lost in a row; `bit_errors`: share of bits flipped."""

    loss: float = 0.0
    burst: float = 1.0
    bit_errors: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.loss <= 0.9:
            raise SimulationError(f"a loss of {self.loss:g}; it is a share of frames from 0 to 0.9")
        if not max(1.0, self.loss / (1 - self.loss)) <= self.burst <= 1e6:
            raise SimulationError(f"bursts of {self.burst:g} frames do not go with a loss of {self.loss:g}")
        if not 0 <= self.bit_errors <= 0.1:
            raise SimulationError(f"bit errors of {self.bit_errors:g}; they are a share of bits from 0 to 0.1")


class Line:
    """Passes frames through the faults; counts `frames`, those `lost` and those `damaged`.

    Loss follows Gilbert's two-state model (Bell System Technical Journal 39, 1960): in the bad state every frame is
    lost.
    """

    def __init__(self, faults: Faults, rng: np.random.Generator) -> None:
        self._faults = faults
        self._rng = rng
        self._bad = False
        self._turns_bad = faults.loss / (faults.burst * (1 - faults.loss))
        self.frames = self.lost = self.damaged = 0

    def carry(self, frame: bytes) -> bytes:
        """The bytes of a frame that arrive: all, some of them changed, or none."""
        self.frames += 1
        if self._lose():
            self.lost += 1
            return b""
        flips = int(self._rng.binomial(8 * len(frame), self._faults.bit_errors)) if self._faults.bit_errors else 0
        if not flips:
            return frame
        self.damaged += 1
        bits = np.unpackbits(np.frombuffer(frame, np.uint8))
        bits[self._rng.choice(len(bits), flips, replace=False)] ^= 1
        return np.packbits(bits).tobytes()

    def _lose(self) -> bool:
        if self._faults.loss:
            chance = float(self._rng.random())
            self._bad = chance >= 1 / self._faults.burst if self._bad else chance < self._turns_bad
        return self._bad
