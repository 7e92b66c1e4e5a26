"""Samples and electrocardiogram of one sensor on one clock, as a reference for heart rates.

Both are kept until taken, within a bound.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from agent.sensors.meter import Meter
from agent.sources import EcgReading, Reading, SensorInfo
from agent.sources.timing import STANDARD_GRAVITY

KEPT = 256
"""Packets of each kind that are kept: about a minute of an H10's."""
SHOWN_S = 5.0


class Paired:
    """A sink in front of a meter; `ecg` receives the electrocardiogram."""

    def __init__(self, meter: Meter) -> None:
        self.dropped = 0
        self._meter = meter
        self._acc: deque[Reading] = deque(maxlen=KEPT)
        self._ecg: deque[EcgReading] = deque(maxlen=KEPT)

    def sensor(self, info: SensorInfo) -> None:
        self._meter.sensor(info)

    def samples(self, reading: Reading) -> None:
        self._meter.samples(reading)
        self.dropped += len(self._acc) == KEPT
        self._acc.append(reading)

    def ecg(self, reading: EcgReading) -> None:
        self.dropped += len(self._ecg) == KEPT
        self._ecg.append(reading)

    @property
    def millivolts(self) -> np.ndarray:
        """The newest seconds not yet taken, float64[n] in mV, for a chart."""
        if not self._ecg:
            return np.empty(0)
        values = np.concatenate([one.microvolts for one in self._ecg]) / 1000
        return values[-round(SHOWN_S * self._ecg[-1].rate_hz) :]

    def take(self) -> dict[str, Any]:
        """Everything since the last call, for JSON output; times in ms of this machine's monotonic clock."""
        acc, ecg = list(self._acc), list(self._ecg)
        self._acc.clear()
        self._ecg.clear()
        return {
            "acc": {
                "tMs": [round(t / 1e6, 3) for one in acc for t in one.t_ns.tolist()],
                "g": [[round(v / STANDARD_GRAVITY, 5) for v in row] for one in acc for row in one.xyz.tolist()],
                "lost": sum(one.lost for one in acc),
            },
            "ecg": {
                "tMs": [round(t / 1e6, 3) for one in ecg for t in one.t_ns.tolist()],
                "microvolts": [v for one in ecg for v in one.microvolts.tolist()],
                "lost": sum(one.lost for one in ecg),
            },
        }
