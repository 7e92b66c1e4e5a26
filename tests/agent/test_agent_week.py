"""A broker away for days: the quota holds, and afterwards history comes at speed while the present stays present.

The short run is a quarter of an hour, the soak run seven whole days, enqueued with the times they would have had;
what drains afterwards is the real outbox through the real uplink and a real broker.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agent.outbox import Outbox
from tests.agent.kits import SESSION, Kit, running
from tests.agent.peers import Recorder
from tests.peers import Mosquitto
from tests.waiting import comes

HOUR_S = 3600
STEP = 4 * 9.80665 / 32768
"""What a sensor of 16 bits tells apart at 4 g, m/s²."""


def batches(second: int) -> list[dict[str, object]]:
    """A second of samples with a sensor's noise: ten of its steps, which is what they weigh when deflated."""
    start = 1_721_574_600_000.417 + second * 1000
    noise = np.random.default_rng(second).normal(0, 10, (100, 3)).round() * STEP + (0.2, -0.4, 9.80665)
    samples = [
        {"t": round(start + n * 10.003, 3), "az": z, "ax": x, "ay": y}
        for n, (x, y, z) in enumerate(noise.round(5).tolist())
    ]
    return [{"samples": samples[at : at + 10]} for at in range(0, 100, 10)]


async def away(folder: Path, seconds: int, quota: int) -> Outbox:
    """An outage, a commit each second, on the clock it would have had."""
    outbox = Outbox(folder / "outbox.db", quota, "b0")
    await outbox.open()
    for second in range(seconds):
        for tenth, batch in enumerate(batches(second)):
            outbox.put("samples_batch", batch, SESSION, 1_721_574_600_000 + second * 1000 + tenth * 100)
        await outbox.commit()
        assert outbox.figures.bytes <= quota
    return outbox


@pytest.mark.parametrize(
    ("hours", "drain_s", "least_times_real", "most_live_s"),
    [
        (0.25, 2.0, 2, 10.0),
        pytest.param(24 * 7, 120.0, 20, 1.0, marks=[pytest.mark.soak, pytest.mark.timeout(7200)]),
    ],
)
async def test_away_for_a_week(
    mosquitto: Mosquitto,
    recorder: Callable[..., Recorder],
    tmp_path: Path,
    hours: float,
    drain_s: float,
    least_times_real: float,
    most_live_s: float,
) -> None:
    seconds = int(hours * HOUR_S)
    outbox = await away(tmp_path, seconds, 2 << 30)
    owed = outbox.figures
    assert owed.messages == seconds * 10, "seven days at 100 Hz fit into the default quota"
    await outbox.close()

    relay = await asyncio.to_thread(recorder, mosquitto.url, keep=False)
    async with running(Kit(mosquitto.url, tmp_path, "b1")) as kit:
        await comes(lambda: kit.uplink.connected)
        began, put_at = time.monotonic(), {}
        while (took := time.monotonic() - began) < drain_s and kit.outbox.figures.messages > 100:
            kit.put()
            put_at[kit.outbox._seq] = time.time()
            await asyncio.sleep(0.1)
        drained = owed.messages - kit.outbox.figures.messages
        await comes(lambda: all((SESSION, "b1", seq) in relay.came for seq in put_at))
    delays = sorted(relay.came[SESSION, "b1", seq] - at for seq, at in put_at.items())
    times_real = drained / 10 / took
    told = {"hours": hours, "bytes": owed.bytes, "drained_times_real": round(times_real), "live_max_s": delays[-1]}
    print(json.dumps(told))
    assert times_real >= least_times_real, told
    assert delays[-1] < most_live_s, told


async def test_quota_of_less_than_the_outage_keeps_the_newest(tmp_path: Path) -> None:
    quota = 1 << 20
    outbox = await away(tmp_path, 800, quota)
    figures = outbox.figures
    assert figures.dropped > 0
    assert figures.dropped + figures.messages == 8000
    assert figures.dropped_from_ms == 1_721_574_600_000
    await outbox.refill(1)
    oldest = outbox.next_due()
    assert oldest is not None
    assert oldest.seq == figures.dropped + 1
    await outbox.close()
    assert sum(file.stat().st_size for file in tmp_path.glob("outbox.db*")) < quota + (4 << 20)
