"""The outbox's law in random lives: nothing unacknowledged is lost, nothing acknowledged comes back, across crashes."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.outbox import Message, Outbox
from agent.outbox.ranges import compress
from tests.agent.outboxes import QUOTA, drained, put


class Law(RuleBasedStateMachine):
    """Random lives of one outbox, with crashes: files are copied as a kill -9 would leave them, and opened again."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="outbox-law-"))
        self.boots = 0
        self.pending: set[tuple[str, int]] = set()
        self.on_disk: set[tuple[str, int]] = set()
        self.acked: set[tuple[str, int]] = set()
        self.flying: dict[tuple[str, int], Message] = {}
        self.start()

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def start(self) -> None:
        self.boots += 1
        self.path = self.folder / str(self.boots) / "outbox.db"

        async def opened() -> Outbox:
            outbox = Outbox(self.path, QUOTA, f"boot{self.boots}")
            await outbox.open()
            return outbox

        self.outbox = self.run(opened())

    @rule(n=st.one_of(st.integers(1, 6), st.integers(1, 70)))
    def put(self, n: int) -> None:
        self.pending |= {message.key for message in self.run(self._put(n))}

    async def _put(self, n: int) -> list[Message]:
        return put(self.outbox, n)

    @rule(n=st.integers(1, 40))
    def send_live(self, n: int) -> None:
        for _ in range(n):
            if (message := self.outbox.next_live()) is not None:
                assert message.key in self.pending
                assert message.key not in self.flying
                self.flying[message.key] = message

    @rule(n=st.integers(1, 40), blocks=st.integers(1, 4))
    def send_history(self, n: int, blocks: int) -> None:
        if self.outbox.has_more:
            self.run(self.outbox.refill(blocks))
        for _ in range(n):
            if (message := self.outbox.next_due()) is not None:
                assert message.key in self.pending, "acknowledged or unknown, and sent again"
                assert message.key not in self.flying
                self.flying[message.key] = message

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        self.run(self._ack(data.draw(st.lists(st.sampled_from(sorted(self.flying)), unique=True, max_size=60))))

    @rule()
    def ack_all_in_flight(self) -> None:
        self.run(self._ack(list(self.flying)))

    async def _ack(self, chosen: list[tuple[str, int]]) -> None:
        for boot in {boot for boot, _ in chosen}:
            ranges = compress(seq for owner, seq in chosen if owner == boot)
            settled = {message.key for message in self.outbox.acked(boot, ranges)}
            assert settled == {key for key in chosen if key[0] == boot}
            for key in settled:
                del self.flying[key]
            self.acked |= settled
            self.pending -= settled

    @rule()
    def connection_lost(self) -> None:
        self.run(self._ground(list(self.flying.values())))
        self.flying.clear()

    async def _ground(self, messages: list[Message]) -> None:
        self.outbox.grounded(messages)

    @rule()
    def commit(self) -> None:
        self.run(self.outbox.commit())
        self.on_disk = set(self.pending)

    @rule(data=st.data(), sent=st.sampled_from([0, 3]))
    def ack_and_send_while_committing(self, data: st.DataObject, sent: int) -> None:
        chosen = data.draw(st.lists(st.sampled_from(sorted(self.flying)), unique=True)) if self.flying else []
        self.run(self.commit_meanwhile(chosen, sent))

    async def commit_meanwhile(self, chosen: list[tuple[str, int]], sent: int) -> None:
        held_by_writer = threading.Event()
        self.outbox._writer.submit(held_by_writer.wait)
        committing = asyncio.create_task(self.outbox.commit())
        while not (self.outbox._lock.locked() or committing.done()):
            await asyncio.sleep(0)
        gathered = set(self.pending)
        await self._ack(chosen)
        self.send_live(sent)
        held_by_writer.set()
        await committing
        self.on_disk = gathered

    @rule()
    def all_that_is_owed_is_offered(self) -> None:
        self.connection_lost()
        self.commit()
        offered = self.run(drained(self.outbox))
        assert {message.key for message in offered} == self.pending
        assert len(offered) == len(self.pending)
        self.run(self._ground(offered))

    @rule()
    def commit_what_is_settled(self) -> None:
        self.run(self.outbox.commit(fresh=False))
        self.on_disk &= self.pending

    @rule()
    def crash(self) -> None:
        torn = self.folder / str(self.boots + 1)
        torn.mkdir()
        for file in self.path.parent.iterdir():
            shutil.copy(file, torn)
        self.run(self.outbox._in_writer(self.outbox._journal.close))
        self.outbox._writer.shutdown()
        self.start()
        self.pending = set(self.on_disk)
        self.flying.clear()
        left = self.run(drained(self.outbox))
        assert [m.key for m in left] == sorted(self.on_disk, key=lambda k: (int(k[0][4:]), k[1]))
        self.run(self._ground(left))

    @invariant()
    def backlog_is_told_truly(self) -> None:
        assert self.outbox.figures.messages == len(self.pending)

    def teardown(self) -> None:
        self.run(self.outbox.close())
        self.runner.close()
        shutil.rmtree(self.folder)


@pytest.fixture
def law() -> Iterator[Law]:
    one = Law()
    yield one
    one.teardown()


def test_settled_but_still_on_disk_is_not_read_back(law: Law) -> None:
    law.put(3)
    law.send_live(3)
    law.commit()
    law.ack_all_in_flight()
    law.send_history(5, 2)
    law.all_that_is_owed_is_offered()


def test_settled_while_its_block_was_written_takes_no_neighbour_along(law: Law) -> None:
    law.put(3)
    law.send_live(1)
    law.run(law.commit_meanwhile(list(law.flying), 0))
    law.commit()
    law.all_that_is_owed_is_offered()
    law.crash()


TestLaw = Law.TestCase
TestLaw.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
