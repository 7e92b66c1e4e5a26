"""10,000 running timer sessions and 2,000 sockets in one relay on one core, with authentication and durability on. The
relay is pinned to the first core, the clients to the others. The figures of the original (Node, Redis, PostgreSQL, no
authentication) were taken on a machine of this class, not in this run.

`python -m tests.bench.bench_timers`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import resource
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from relay.auth import Principal, Role, Tokens, load_secret
from tests.bench.rows import Row, show
from tests.bench.timer_clients import Listener, Pool
from tests.peers import Child, free_port, listens
from tests.programs import RelayProgram

SESSIONS, SOCKETS, CONNECTIONS = 10_000, 2_000, 64
RATES, SECONDS = (200, 1_000), 8
DEADLINES = 3_334
"""Sessions whose time runs out within half a minute: each has three deadlines (low, critical, over)."""
ALL_CORES = sorted(os.sched_getaffinity(0))
SETTINGS = "[timers]\nswitches_per_s = 100000\n"
ORIGINAL = {200: (1.3, 2.8, 6.2), 1_000: (5.3, 11.3, 15.0)}
ORIGINAL_SATURATED = 1_668.0


def chess(session: str, time_ms: int) -> dict[str, Any]:
    people = [{"participant_id": f"participant{k}-uuid", "total_time_ms": time_ms} for k in (1, 2)]
    return {"session_id": session, "sync_mode": "per_participant", "participants": people, "increment_ms": 3000}


def rss_kb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1024


async def listen(pool: Pool, sessions: list[str], bearer: str, came: dict[str, float] | None) -> list[Listener]:
    loop, found = asyncio.get_running_loop(), []
    for session in sessions:
        listener = Listener(pool.port, f"/sessions/{session}?token={bearer}", session, came)
        await loop.create_connection(partial(_same, listener), "127.0.0.1", pool.port)
        await listener.opened
        found.append(listener)
    return found


def _same(listener: Listener) -> Listener:
    return listener


async def create(pool: Pool, sessions: dict[str, int]) -> None:
    await pool.all([pool.request("POST", "/v1/sessions", chess(*one)) for one in sessions.items()], 201)
    await pool.all([pool.request("POST", f"/v1/sessions/{session}/start") for session in sessions], 200)


class Load:
    """Switches against all sessions in turn, and how long answers and updates took."""

    def __init__(self, pool: Pool, names: list[str], came: dict[str, float]) -> None:
        self.pool, self.names, self.came = pool, names, came
        self.switched = 0
        self.answers: list[float] = []
        self.updates: list[float] = []

    async def one(self, due: float) -> None:
        session = self.names[self.switched % len(self.names)]
        self.switched += 1
        status, body = await self.pool.ask(self.pool.request("POST", f"/v1/sessions/{session}/switch"))
        assert status == 200, body
        self.answers.append((time.perf_counter() - due) * 1000)
        if (at := self.came.get(session, 0.0)) > due:
            self.updates.append((at - due) * 1000)

    async def at_rate(self, rate: int) -> None:
        """Open loop: a request is due when it is due, and its delay counts from then."""
        self.answers, self.updates, tasks = [], [], []
        begun = time.perf_counter() + 0.2
        for number in range(rate * SECONDS):
            due = begun + number / rate
            while (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(self.one(due)))
        await asyncio.gather(*tasks)

    async def saturated(self) -> float:
        """Closed loop over all connections: switches a second."""
        begun, before = time.perf_counter(), self.switched

        async def worker() -> None:
            while time.perf_counter() < begun + SECONDS:
                await self.one(time.perf_counter())

        await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
        return (self.switched - before) / (time.perf_counter() - begun)


async def measured(relay: RelayProgram, bearer: str) -> list[Row]:
    pool = Pool(relay.care_port, bearer)
    await pool.open(CONNECTIONS)
    await create(pool, {f"warm{k}": 600_000 for k in range(200)})
    empty = rss_kb(relay.child.pid)
    names = [f"s{k}" for k in range(SESSIONS)]
    await create(pool, dict.fromkeys(names, 86_400_000))
    rows = [Row("timers: memory a running session", (rss_kb(relay.child.pid) - empty) / SESSIONS, "kB", "goal", 8)]
    came: dict[str, float] = {}
    sockets = await listen(pool, names[:SOCKETS], bearer, came)
    gc.collect()
    gc.freeze()
    load = Load(pool, names, came)
    for rate in RATES:
        await load.at_rate(rate)
        for share, theirs in zip((50, 95, 99), ORIGINAL[rate], strict=True):
            value = float(np.percentile(load.answers, share))
            rows.append(Row(f"timers: switch p{share} at {rate}/s", value, "ms", "the original, elsewhere", theirs))
        rows.append(Row(f"timers: update p95 at {rate}/s", float(np.percentile(load.updates, 95)), "ms", "goal", 25))
        rows.append(await beside_nothing(rate, load))
    saturated = await load.saturated()
    rows.append(
        Row("timers: switches a second, saturated", saturated, "/s", "the original, elsewhere", ORIGINAL_SATURATED)
    )
    expected = sum(load.switched // SESSIONS + (k < load.switched % SESSIONS) for k in range(SOCKETS))
    await asyncio.sleep(1.0)
    rows.append(Row("timers: updates lost", expected - sum(one.updates for one in sockets), "", "goal", 0))
    return [*rows, *await lateness(pool, bearer)]


async def beside_nothing(rate: int, load: Load) -> Row:
    """The same requests at the same rate to a server that does nothing: what the machine itself costs just now."""
    ours = float(np.percentile(load.answers, 99))
    port = free_port()
    child = Child([sys.executable, "-m", "tests.bench.timer_clients", str(port)])
    os.sched_setaffinity(child.pid, ALL_CORES[:1])
    child.wait_until(lambda: listens(port), "a server that does nothing")
    pool = Pool(port, load.pool.bearer)
    await pool.open(CONNECTIONS)
    bare = Load(pool, load.names, {})
    await bare.at_rate(rate)
    child.kill()
    theirs = float(np.percentile(bare.answers, 99))
    return Row(f"timers: switch p99 at {rate}/s", ours, "ms", "a server that does nothing", theirs)


async def lateness(pool: Pool, bearer: str) -> list[Row]:
    """Ten thousand deadlines spread by chance over half a minute, the ten thousand sessions running beside them."""
    chance = random.Random(7)
    sessions = {f"due{k}": 40_000 + chance.randrange(30_000) for k in range(DEADLINES)}
    await create(pool, sessions)
    sockets = await listen(pool, list(sessions), bearer, None)
    ends = time.monotonic() + 80
    while sum(len(one.heard) for one in sockets) < 3 * DEADLINES and time.monotonic() < ends:
        await asyncio.sleep(0.5)
    late = [ms for one in sockets for ms in one.heard]
    return [
        Row("timers: deadlines' events lost", 3 * DEADLINES - len(late), "", "goal", 0),
        *(
            Row(f"timers: deadline's event heard, p{k}", float(np.percentile(late, k)), "ms", "goal", 20)
            for k in (50, 99)
        ),
    ]


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        config = Path(folder) / "relay.toml"
        config.write_text(SETTINGS)
        relay = RelayProgram(data, "--config", str(config))
        os.sched_setaffinity(relay.child.pid, ALL_CORES[:1])
        os.sched_setaffinity(0, ALL_CORES[1:] or ALL_CORES)
        try:
            tokens = Tokens(load_secret(data / "secret"))
            bearer = tokens.issue(Principal("bench", Role.ADMIN), now_s=time.time(), lifetime_s=3600)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(measured(relay, bearer))
        finally:
            os.sched_setaffinity(0, ALL_CORES)
            relay.stop()


if __name__ == "__main__":
    show("Timers", rows())
