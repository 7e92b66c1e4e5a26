"""How old a heartbeat is when it reaches a physician's browser: from the sensor's serial byte to the viewer's socket,
with all programs running. Sensor, agent, relay and viewer share one clock; a grid point's age is the time at which its
frame arrived minus its own time. That includes batching (100 ms) and what the curve holds back.

`python -m tests.bench.bench_latency`.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import uvloop
from websockets.asyncio.client import connect

from tests.bench.rows import Row, show
from tests.journeys.line import running_line

SECONDS = 20.0
WARM_UP_S = 5.0


async def _ages(url: str) -> np.ndarray:
    """Age in ms of every grid point when its message came; the first seconds left out."""
    ages: list[float] = []
    began = time.monotonic()
    async with connect(url, max_size=None) as socket:
        while time.monotonic() - began < WARM_UP_S + SECONDS:
            message = json.loads(await socket.recv())
            now_ms = time.time() * 1000
            if message["type"] == "interpolated_batch" and time.monotonic() - began > WARM_UP_S:
                ages += [now_ms - point["t"] for point in message["payload"]["interpolatedSamples"]]
    return np.array(ages)


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, running_line(Path(folder)) as line:
        url = f"{line.relay.ws}/ws/{line.session}?role=viewer"
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            ages = runner.run(_ages(url))
    assert len(ages) > 50 * SECONDS, f"only {len(ages)} points came"
    return [
        Row("serial byte to viewer's socket, 100 Hz: p50", float(np.percentile(ages, 50)), "ms", "goal", 150.0),
        Row("serial byte to viewer's socket, 100 Hz: p99", float(np.percentile(ages, 99)), "ms", "goal", 300.0),
    ]


if __name__ == "__main__":
    show("Latency", rows())
