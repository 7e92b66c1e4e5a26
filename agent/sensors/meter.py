"""What a sensor's samples alone reveal: rate, jitter, loss, clock error, gravity. It is the sink of a source."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from agent.sources import Reading, SensorInfo
from agent.sources.timing import STANDARD_GRAVITY

KEPT_S = 10.0
"""Span of the figures; losses are counted from the start."""
GRAVITY_WITHIN = 0.1
RATE_WITHIN = 0.05
FEW = 20


class Meter:
    """One per sensor; keeps the readings of the last KEPT_S seconds."""

    def __init__(self) -> None:
        self.info: SensorInfo | None = None
        self.samples_seen = 0
        self.lost = 0
        self._readings: deque[Reading] = deque()

    def sensor(self, info: SensorInfo) -> None:
        self.info = info

    def samples(self, reading: Reading) -> None:
        self.lost += reading.lost if self.samples_seen else 0
        self.samples_seen += len(reading.t_ns)
        self._readings.append(reading)
        oldest_ns = reading.t_ns[-1] - KEPT_S * 1e9
        while self._readings[0].t_ns[-1] < oldest_ns:
            self._readings.popleft()

    @property
    def axes_g(self) -> np.ndarray:
        """The samples kept, float64[n, 3] in g."""
        if not self._readings:
            return np.empty((0, 3))
        return np.concatenate([reading.xyz for reading in self._readings]) / STANDARD_GRAVITY

    def figures(self) -> dict[str, Any]:
        """The figures for JSON output; None where too little is known."""
        info = self.info or SensorInfo("unknown", "unknown")
        found: dict[str, Any] = {
            "name": info.name,
            "kind": info.kind,
            "rateHz": info.rate_hz,
            "rangeG": info.range_g,
            "samples": self.samples_seen,
            "lost": self.lost,
            "measuredHz": None,
            "lateMs": None,
            "jitterMs": None,
            "clockErrorMs": None,
            "gravityG": None,
            "noiseMg": None,
        }
        return found | self._measured() if sum(len(one.t_ns) for one in self._readings) >= FEW else found

    def _measured(self) -> dict[str, Any]:
        t_ns = np.concatenate([reading.t_ns for reading in self._readings])
        steps = np.diff(t_ns)
        late_ms = np.array([(one.arrival_ns - one.t_ns[-1]) / 1e6 for one in self._readings])
        axes = self.axes_g
        error_ms = self._readings[-1].error_ms
        return {
            "measuredHz": round(1e9 / float(np.median(steps)), 3),
            "lateMs": round(float(np.median(late_ms)), 2),
            "jitterMs": round(float(np.percentile(late_ms, 95) - np.percentile(late_ms, 5)), 2),
            "clockErrorMs": None if error_ms is None else round(error_ms, 3),
            "gravityG": round(float(np.median(np.linalg.norm(axes, axis=1))), 4),
            "noiseMg": round(float(np.median(np.abs(np.diff(axes[:, 2]))) * 1000 / 0.954), 3),
        }

    def findings(self) -> list[str]:
        """Problems, each with a remedy; empty for a sensor in good order that lies still or is worn."""
        now = self.figures()
        if now["measuredHz"] is None:
            return ["hardly any samples came: is it powered, near and started?"]
        said = []
        if now["rateHz"] and abs(now["measuredHz"] / now["rateHz"] - 1) > RATE_WITHIN:
            said.append(f"it runs at {now['measuredHz']:g} Hz and says {now['rateHz']:g}: set the rate again")
        if self.lost:
            said.append(f"{self.lost} samples were lost: move it nearer, or lower its rate")
        if not 1 - GRAVITY_WITHIN < now["gravityG"] < 1 + GRAVITY_WITHIN:
            said.append(
                f"at rest it measures {now['gravityG']:g} g instead of 1: wrong range, dialect or unit, or it moves"
            )
        return said
