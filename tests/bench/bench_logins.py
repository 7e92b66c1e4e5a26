"""Five hundred people sign in at once: how far that delays a heart line in the same relay. Argon2id hashes are
expensive on purpose. A batch of ten samples goes in every 100 ms; its delay is the time until the next message reaches
a viewer. The same line while nobody signs in is measured in the same run.

`python -m tests.bench.bench_logins`.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

from tests.bench.rows import Row, show
from tests.contract.care import PASSWORD, Care
from tests.contract.sockets import EPOCH, Socket, sine

PEOPLE, BATCHES, EVERY_S = 500, 100, 0.1


async def _delays(care: Care) -> list[float]:
    """Delays in ms of the batches of a line of its own."""
    made = httpx.post(f"{care.relay.http}/api/v1/sessions").json()["websocketUrl"]
    came: list[float] = []
    async with Socket(f"{made}?role=viewer") as viewer, Socket(f"{made}?role=patient") as patient:
        watching = asyncio.create_task(_note(viewer, came))
        sent: list[float] = []
        for number in range(BATCHES):
            sent.append(time.perf_counter())
            await patient.batch(sine([EPOCH + 100 * number + 10 * k for k in range(10)]))
            await asyncio.sleep(EVERY_S)
        watching.cancel()
    return [1000 * (min((at for at in came if at > moment), default=np.inf) - moment) for moment in sent[1:-1]]


async def _note(viewer: Socket, came: list[float]) -> None:
    seen = 0
    while True:
        await viewer.until(lambda got, before=seen: len(got) > before, within_s=60.0)
        seen = len(viewer.got)
        came.append(time.perf_counter())


async def _crowd(care: Care) -> float:
    """Everybody at once; seconds until the last is in."""
    began = time.perf_counter()
    limits = httpx.Limits(max_connections=PEOPLE)
    async with httpx.AsyncClient(base_url=care.relay.care, timeout=300, limits=limits) as client:
        body = {"email": "john@example.org", "password": PASSWORD}
        answers = await asyncio.gather(*(client.post("/api/auth/login", json=body) for _ in range(PEOPLE)))
    assert {answer.status_code for answer in answers} == {200}
    return time.perf_counter() - began


async def _measured(care: Care) -> list[Row]:
    quiet = float(np.percentile(await _delays(care), 99))
    crowd = asyncio.create_task(_crowd(care))
    busy = float(np.percentile(await _delays(care), 99))
    took = await crowd
    return [
        Row(f"heart line while {PEOPLE} sign in: p99", busy, "ms", "goal", 100.0),
        Row(f"heart line while {PEOPLE} sign in: p99", busy, "ms", "nobody signs in", quiet),
        Row("sign-ins a second, all at once", PEOPLE / took, "/s"),
    ]


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        care = Care(Path(folder) / "relay", "sqlite", None)
        try:
            return asyncio.run(_measured(care))
        finally:
            care.relay.stop()


if __name__ == "__main__":
    show("Sign-ins", rows())
