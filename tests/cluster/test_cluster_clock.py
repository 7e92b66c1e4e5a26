"""One timescale for all relays: who joins takes the senior's over, however wrong its own wall clock was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay.clock import SteadyClock, wall_anchor_ns
from relay.cluster.link import Link
from relay.cluster.members import Members
from relay.process.metrics import Metrics
from tests.peers import Child, find_peer, free_port, listens
from tests.waiting import comes


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[str]:
    port = free_port()
    child = Child([find_peer("nats-server", "nats-server"), "-a", "127.0.0.1", "-p", str(port)], cwd=tmp_path)
    await asyncio.to_thread(child.wait_until, lambda: listens(port), "answer of NATS")
    yield f"nats://127.0.0.1:{port}"
    await asyncio.to_thread(child.end)


@asynccontextmanager
async def relay(url: str, name: str, ahead_s: float = 0.0) -> AsyncIterator[tuple[Members, SteadyClock]]:
    """A relay's membership, its own clock so many seconds ahead of the others' walls."""
    link, steady = Link(url, name, Metrics()), SteadyClock(wall_anchor_ns() + int(ahead_s * 1e9))
    members = Members(link, steady, Metrics())
    tasks = [asyncio.create_task(link.run()), asyncio.create_task(members.run())]
    try:
        yield members, steady
    finally:
        members.leave()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await link.close()


@pytest.mark.parametrize("wrong_s", [2.0, -2.0, 3600.0])
async def test_who_joins_takes_the_seniors_time(server: str, wrong_s: float) -> None:
    async with relay(server, "first") as (first, senior):
        await comes(lambda: first.roll.present == ["first"])
        async with relay(server, "second", wrong_s) as (second, joined):
            await comes(lambda: abs(joined.anchor_ns - senior.anchor_ns) < 50_000_000)
            assert second.roll.present == ["first", "second"]
        await comes(lambda: first.roll.present == ["first"])


async def test_the_others_hear_who_went(server: str) -> None:
    async with relay(server, "first") as (first, _):
        gone: list[str] = []
        first.on_gone.append(gone.append)
        async with relay(server, "second"):
            await comes(lambda: first.roll.present == ["first", "second"])
        await comes(lambda: gone == ["second"])
        assert first.rank("anything") == 0
