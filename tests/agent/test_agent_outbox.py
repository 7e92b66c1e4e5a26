"""The outbox against its law: nothing unacknowledged is lost, nothing acknowledged comes back, memory stays small."""

from __future__ import annotations

import asyncio
import gc
import random
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from agent.errors import OutboxInUse
from agent.outbox import Message, Outbox
from agent.outbox.blocks import SessionMark
from agent.outbox.ranges import compress, count, expand, within
from tests.agent.outboxes import QUOTA, SESSION, drained, put


@pytest.mark.parametrize("numbers", [[], [1], [1, 2, 3], [5, 1, 2, 9, 9, 4]])
def test_ranges_round_trip(numbers: list[int]) -> None:
    assert expand(compress(numbers)) == sorted(set(numbers))
    assert count(compress(numbers)) == len(set(numbers))


def test_ranges_from_outside_cost_only_what_is_known() -> None:
    assert within([[1, 10**15], [3, 4], [7, 2]], [2, 8, 10**16]) == [2, 8]
    assert within([[5, 6], [1, 2], [2, 4]], range(10)) == [1, 2, 3, 4, 5, 6]


async def test_message_says_who_it_is(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", QUOTA, "b00t")
    await outbox.open()
    (message,) = put(outbox)
    assert msgspec.json.decode(message.body) == {
        "type": "samples_batch", "payload": {"samples": [[0.1] * 30]}, "session": SESSION, "boot": "b00t", "seq": 1,
    }  # fmt: skip
    await outbox.close()


async def test_acknowledged_before_its_commit_never_wears_the_disk(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", QUOTA, "a")
    await outbox.open()
    before = (tmp_path / "outbox.db-wal").stat().st_size
    for _ in range(50):
        (message,) = put(outbox)
        assert outbox.next_live() is message
        assert outbox.acked("a", [[message.seq, message.seq]]) == [message]
        await outbox.commit()
    assert (tmp_path / "outbox.db-wal").stat().st_size == before
    assert outbox.figures.messages == 0
    await outbox.close()


async def test_one_hiccup_does_not_make_the_disk_wear_for_ever(tmp_path: Path) -> None:
    """What was written because an acknowledgement was late is taken off once, and nothing is written after that."""
    now = [0.0]
    outbox = Outbox(tmp_path / "outbox.db", QUOTA, "a", clock=lambda: now[0])
    await outbox.open()
    commits: list[float] = []
    flying: list[tuple[float, Message]] = []
    for _ in range(600):
        now[0] += 0.1
        flying += [(now[0], message) for message in put(outbox) if outbox.next_live() is message]
        late = 3.0 if 5 < now[0] < 8 else 0.3
        while flying and now[0] - flying[0][0] >= late:
            outbox.acked("a", [[flying[0][1].seq] * 2])
            flying.pop(0)
        due = outbox.due_at()
        if due is not None and due <= now[0]:
            commits.append(round(now[0], 1))
            await outbox.commit_due()
    assert 2 <= len(commits) <= 6
    assert commits[-1] < 20
    assert outbox.figures.messages == len(flying)
    await outbox.close()


async def test_kept_for_the_next_boot_in_order(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "outbox.db", QUOTA, "a")
    await first.open()
    sent = put(first, 137)
    first.mark(SessionMark("s", 1, 2))
    first.acked("a", [[3, 9], [100, 100]])
    await first.close()

    second = Outbox(tmp_path / "outbox.db", QUOTA, "b")
    mark = await second.open()
    assert mark is not None
    assert mark.id == "s"
    left = [message for message in sent if message.seq not in {*range(3, 10), 100}]
    assert second.figures.messages == len(left)
    again = await drained(second)
    assert [(m.boot, m.seq, m.body) for m in again] == [(m.boot, m.seq, m.body) for m in left]
    second.acked("a", compress(m.seq for m in again))
    await second.close()

    third = Outbox(tmp_path / "outbox.db", QUOTA, "c")
    await third.open()
    assert third.figures.messages == 0
    assert await drained(third) == []
    await third.close()


async def test_commits_itself_within_a_second(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", QUOTA, "a")
    await outbox.open()
    keeper = asyncio.create_task(outbox.keep())
    put(outbox, 10)
    async with asyncio.timeout(3):
        while outbox._journal.state.messages < 10:
            await asyncio.sleep(0.01)
    outbox.acked("a", [[1, 10]])
    assert outbox.acked("a", [[1, 10]]) == [], "never in flight: nothing of it is held in memory"
    keeper.cancel()
    assert [m.seq for m in await drained(outbox)] == list(range(1, 11))
    await outbox.close()


async def test_quota_drops_the_oldest_and_says_so(tmp_path: Path) -> None:
    quota = 256 << 10
    outbox = Outbox(tmp_path / "outbox.db", quota, "a")
    await outbox.open()
    begun = outbox.put("session_started", {"startedAt": "x"}, SESSION, 5, kept=True)
    with capture_logs() as logs:
        for second in range(400):
            for part in range(10):
                noise = random.Random(second * 10 + part).randbytes(100).hex()
                outbox.put("samples_batch", {"noise": noise, "n": second}, SESSION, 1000 + second)
            await outbox.commit()
            assert outbox._journal.used <= quota
    figures = outbox.figures
    assert figures.dropped > 0
    assert figures.dropped + figures.messages == 4001
    assert figures.dropped_from_ms == 1000
    left = await drained(outbox)
    assert left[0].key == begun.key, "a session's beginning is never dropped"
    assert [m.seq for m in left[1:]] == list(range(figures.dropped + 2, 4002)), "oldest first, no holes after"
    assert any(entry["event"] == "outbox_quota_dropped" and entry["messages"] for entry in logs)
    await outbox.close()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < quota + (1 << 20)


async def test_rejected_is_set_aside_and_never_sent_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", QUOTA, "a")
    await outbox.open()
    put(outbox, 3)
    await outbox.commit()
    await drained(outbox)
    assert outbox.refused("a", 2, "INVALID_MESSAGE", "no time", 7) is not None
    assert outbox.refused("a", 2, "INVALID_MESSAGE", "no time", 7) is None
    outbox.acked("a", [[1, 1]])
    await outbox.close()
    again = Outbox(tmp_path / "outbox.db", QUOTA, "b")
    await again.open()
    assert again.figures.rejected == 1
    assert [m.seq for m in await drained(again)] == [3]
    await again.close()


async def test_two_agents_on_one_folder_are_refused(tmp_path: Path) -> None:
    one, two = (Outbox(tmp_path / "outbox.db", QUOTA, boot) for boot in "ab")
    await one.open()
    with pytest.raises(OutboxInUse, match="held by another agent"):
        await two.open()
    await one.close()


async def test_disk_that_refuses_costs_nothing_but_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not grow stands for a full card: the same error from the same call."""
    outbox = Outbox(tmp_path / "outbox.db", QUOTA, "a")
    await outbox.open()
    await outbox._in_writer(lambda: outbox._journal._db._connection.execute("PRAGMA max_page_count = 8"))
    monkeypatch.setattr("agent.outbox.outbox.COMMIT_AFTER_S", 0.02)
    monkeypatch.setattr("agent.outbox.outbox.RETRY_S", 0.05)
    with capture_logs() as logs:
        keeper = asyncio.create_task(outbox.keep())
        for _ in range(40):
            outbox.put("samples_batch", {"noise": random.randbytes(300).hex()}, SESSION, 1)
        async with asyncio.timeout(5):
            while not any(entry["event"] == "outbox_unwritable" for entry in logs):
                await asyncio.sleep(0.01)
        assert outbox.figures.messages == 40
        await outbox._in_writer(lambda: outbox._journal._db._connection.execute("PRAGMA max_page_count = 100000"))
        async with asyncio.timeout(5):
            while outbox._journal.state.messages < 40:
                await asyncio.sleep(0.01)
    keeper.cancel()
    assert len(await drained(outbox)) == 40
    await outbox.close()


async def test_state_folder_that_cannot_be_used_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The card is not mounted, or full: messages flow from memory, and go to disk as soon as they can."""
    monkeypatch.setattr("agent.outbox.outbox.RETRY_S", 0.05)
    monkeypatch.setattr("agent.outbox.outbox.COMMIT_AFTER_S", 0.02)
    folder = tmp_path / "state"
    folder.write_text("no folder")
    outbox = Outbox(folder / "outbox.db", QUOTA, "a")
    with capture_logs() as logs:
        assert await outbox.open() is None
        keeper = asyncio.create_task(outbox.keep())
        put(outbox, 5)
        assert outbox.next_live() is not None
        await asyncio.sleep(0.2)
        assert outbox.figures.messages == 5
        folder.unlink()
        async with asyncio.timeout(5):
            while outbox._journal.state.messages < 5:
                await asyncio.sleep(0.01)
    assert [entry["event"] for entry in logs].count("outbox_unwritable") >= 2
    keeper.cancel()
    await outbox.close()
    assert (folder.stat().st_mode & 0o777, (folder / "outbox.db").stat().st_mode & 0o777) == (0o700, 0o600)


async def test_memory_is_bounded_when_the_disk_never_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.outbox.memory.MAX_FRESH_BYTES", 20_000)
    outbox = Outbox(tmp_path / "outbox.db", QUOTA, "a")
    await outbox.open()
    put(outbox, 500)
    figures = outbox.figures
    assert figures.dropped > 0
    assert figures.dropped + figures.messages == 500
    await outbox.close()
    again = Outbox(tmp_path / "outbox.db", QUOTA, "b")
    await again.open()
    assert again.figures.dropped == figures.dropped, "what memory lost is remembered, too"
    assert [m.seq for m in await drained(again)] == list(range(figures.dropped + 1, 501))
    await again.close()


async def test_memory_is_bounded_when_neither_disk_nor_broker_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.outbox.memory.MAX_FRESH_BYTES", 20_000)
    outbox = Outbox(tmp_path / "outbox.db", QUOTA, "bounded")
    await outbox.open()
    kept = outbox.put("session_started", {}, SESSION, 1_700_000_000_000, kept=True)
    put(outbox, 500)
    held = [found for found in gc.get_objects() if isinstance(found, Message) and found.boot == "bounded"]
    assert sum(len(message.body) for message in held) <= 20_000, "what was given up is not held for a broker either"
    assert outbox.next_live() is kept
    following = outbox.next_live()
    assert following is not None
    assert following.seq == min(message.seq for message in held if message is not kept)
    await outbox.close()


async def test_an_end_in_the_middle_of_a_commit_writes_nothing_twice(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", QUOTA, "a")
    await outbox.open()
    for _ in range(20):
        put(outbox, 50)
        committing = asyncio.create_task(outbox.commit())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        committing.cancel()
        await asyncio.gather(committing, return_exceptions=True)
    await outbox.close()
    again = Outbox(tmp_path / "outbox.db", QUOTA, "b")
    await again.open()
    assert again.figures.messages == 1000
    assert [m.seq for m in await drained(again)] == list(range(1, 1001))
    await again.close()
