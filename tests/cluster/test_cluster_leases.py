"""What one relay at a time does: by a lease that the next may take only when it is over, and fenced by its term."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.cluster.leases import Fence, Turn
from relay.db.leases import Leases, fence
from relay.errors import LeaseLost
from tests.databases import with_tables
from tests.peers_postgres import Postgres
from tests.waiting import PATIENCE_S

SHORT_S, LONG_S = 0.2, 60.0


@pytest.fixture
async def engine(postgres: Postgres) -> AsyncIterator[AsyncEngine]:
    async with with_tables(postgres.database()) as found:
        yield found


async def taken(leases: Leases, holder: str, lasts_s: float = LONG_S, within: float = PATIENCE_S) -> int:
    async with asyncio.timeout(within):
        while (term := await leases.take("duty", holder, lasts_s)) is None:
            await asyncio.sleep(0.02)
    return term


async def test_of_many_one_holds_it(engine: AsyncEngine) -> None:
    leases = Leases(engine)
    terms = await asyncio.gather(*(leases.take("duty", f"relay-{k}", LONG_S) for k in range(8)))
    assert [term for term in terms if term is not None] == [1]
    assert await leases.keep("duty", 1, LONG_S)
    assert await leases.take("another", "relay-9", LONG_S) == 1


async def test_the_next_term_is_greater_and_the_old_one_writes_no_more(engine: AsyncEngine) -> None:
    leases = Leases(engine)
    first = await taken(leases, "one", SHORT_S)
    second = await taken(leases, "two")
    assert second == first + 1
    assert not await leases.keep("duty", first, LONG_S)
    async with engine.begin() as connection:
        await fence(connection, "duty", second)
        with pytest.raises(LeaseLost):
            await fence(connection, "duty", first)


async def test_nobody_takes_over_while_a_fenced_write_is_under_way(engine: AsyncEngine) -> None:
    leases = Leases(engine)
    first = await taken(leases, "one", SHORT_S)
    async with engine.begin() as connection:
        await fence(connection, "duty", first)
        next_ = asyncio.create_task(taken(leases, "two"))
        await asyncio.sleep(4 * SHORT_S)
        assert not next_.done()
    assert await next_ == first + 1


async def test_a_relay_that_ends_gives_it_up_at_once(engine: AsyncEngine) -> None:
    leases = Leases(engine)
    await leases.end("duty", await taken(leases, "one"))
    assert await leases.take("duty", "two", LONG_S) == 2


async def test_a_duty_is_done_by_one_relay_at_a_time_and_goes_to_the_next(engine: AsyncEngine) -> None:
    doing: list[str] = []
    done: list[str] = []

    def duty(name: str) -> Turn:
        async def work(_: Fence) -> None:
            doing.append(name)
            done.append(name)
            try:
                assert len(doing) == 1
                await asyncio.Event().wait()
            finally:
                doing.remove(name)

        return Turn(Leases(engine), "duty", name, work)

    relays = {name: asyncio.create_task(duty(name).run()) for name in ("one", "two", "three")}
    for count in (1, 2, 3):
        async with asyncio.timeout(20):
            while len(done) < count:
                await asyncio.sleep(0.02)
        holder = doing[0]
        relays[holder].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await relays[holder]
    assert sorted(done) == ["one", "three", "two"]


async def test_a_duty_stops_when_its_lease_is_anothers(engine: AsyncEngine) -> None:
    """As after a sleep so long that another relay began."""
    leases = Leases(engine)
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def work(_: Fence) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    turn = asyncio.create_task(Turn(leases, "duty", "one", work).run())
    async with asyncio.timeout(20):
        await begun.wait()
        while await leases.take("duty", "two", LONG_S) is None:
            await leases.end("duty", 1)
        await stopped.wait()
    turn.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await turn
