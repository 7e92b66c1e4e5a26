"""An outbox that was torn or overwritten opens, gives back all that was not hit, and says what is gone."""

from __future__ import annotations

import random
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.errors import OutboxError, OutboxUnwritable
from agent.outbox import Outbox
from agent.outbox.blocks import PAGE_BYTES, Block, Change, SessionMark
from agent.outbox.journal import Journal

SESSION = "0b0c7a52-6d0e-4b59-9f5c-2f6f3f1a9d11"
IN_FILE, IN_WAL, PER_BLOCK = 60, 30, 10
Disk = dict[tuple[str, int], bytes]


def block(number: int) -> Block:
    first = number * PER_BLOCK + 1
    bodies = {
        seq: b'{"boot":"a","seq":%d,"payload":"%s"}' % (seq, random.Random(seq).randbytes(60).hex().encode())
        for seq in range(first, first + PER_BLOCK)
    }
    return Block(number + 1, "a", SESSION, 1_700_000_000_000 + number * 1000, bodies)


def commit(journal: Journal, number: int) -> None:
    journal.commit(Change(add=[block(number)], session=SessionMark(SESSION, 1, 1000 * number)))


def everything(journal: Journal) -> Disk:
    found: Disk = {}
    after = 0
    while True:
        blocks, at = journal.read(after, 64)
        if at == after:
            return found
        after = at
        found.update({(one.boot, seq): body for one in blocks for seq, body in one.messages.items()})


@dataclass
class Torn:
    """The files a kill -9 leaves: `committed` in order, and where in the WAL each of the last commits ends."""

    folder: Path
    committed: Disk
    wal_ends: list[int]

    def copy(self, to: Path) -> Path:
        shutil.copytree(self.folder, to)
        return to / "outbox.db"


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> Torn:
    live, left = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("torn") / "left"
    journal = Journal(live / "outbox.db", 1 << 30)
    journal.open()
    for number in range(IN_FILE):
        commit(journal, number)
    assert journal._db._connection is not None
    journal._db._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ends = []
    for number in range(IN_FILE, IN_FILE + IN_WAL):
        commit(journal, number)
        ends.append((live / "outbox.db-wal").stat().st_size)
    shutil.copytree(live, left)
    committed = everything(journal)
    journal.close()
    assert len(committed) == (IN_FILE + IN_WAL) * PER_BLOCK
    return Torn(left, committed, ends)


def truncate(path: Path, size: int, _: random.Random) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def garbage(path: Path, size: int, rng: random.Random) -> None:
    length = path.stat().st_size - size
    with path.open("r+b") as file:
        file.seek(size)
        file.write(rng.randbytes(length))


def zeroes(path: Path, size: int, _: random.Random) -> None:
    length = path.stat().st_size - size
    with path.open("r+b") as file:
        file.seek(size)
        file.write(bytes(length))


def appended(path: Path, size: int, rng: random.Random) -> None:
    """Old blocks of the card behind the true end: nothing of ours is hit."""
    with path.open("ab") as file:
        file.write(rng.randbytes(max(1, path.stat().st_size - size)))


@contextmanager
def full_card(longest: int) -> Iterator[None]:
    """No file may grow beyond this: the kernel refuses as it does on a full card."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (longest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


FAULTS: list[Callable[[Path, int, random.Random], None]] = [truncate, garbage, zeroes, appended]


def test_untouched_remains_are_all_there(torn: Torn, tmp_path: Path) -> None:
    journal = Journal(torn.copy(tmp_path / "x"), 1 << 30)
    with capture_logs() as logs:
        journal.open()
    assert everything(journal) == torn.committed
    assert logs[0]["event"] == "outbox_recovered_after_unclean_stop"
    assert logs[0]["tail_bytes_ignored"] == 0
    assert logs[0]["messages"] == len(torn.committed)
    journal.close()


@pytest.mark.parametrize("seed", range(10))
def test_torn_wal_loses_its_tail_and_nothing_else(torn: Torn, tmp_path: Path, seed: int) -> None:
    """15 faults a seed. Every commit that ends before the first damaged byte is there, whole and in order."""
    rng = random.Random(seed)
    for case in range(15):
        path = torn.copy(tmp_path / str(case))
        wal = path.with_name(path.name + "-wal")
        at = rng.randrange(0, torn.wal_ends[-1])
        fault = FAULTS[(seed + case) % len(FAULTS)]
        fault(wal, at, rng)
        journal = Journal(path, 1 << 30)
        with capture_logs() as logs:
            journal.open()
        whole = len(torn.wal_ends) if fault is appended else sum(end <= at for end in torn.wal_ends)
        expected = dict(list(torn.committed.items())[: (IN_FILE + whole) * PER_BLOCK])
        assert everything(journal) == expected, (fault.__name__, at)
        said = [entry for entry in logs if entry["event"] == "outbox_recovered_after_unclean_stop"]
        if wal.exists() and at > 0:
            assert said
            assert said[0]["messages"] == len(expected)
        commit(journal, IN_FILE + IN_WAL + 1)
        assert len(everything(journal)) == len(expected) + PER_BLOCK, "and it goes on"
        journal.close()


@pytest.mark.parametrize("seed", range(10))
def test_torn_file_gives_back_what_was_not_hit(torn: Torn, tmp_path: Path, seed: int) -> None:
    """15 faults a seed in the last tenth of the main file, after a clean stop (no WAL to heal it)."""
    rng = random.Random(1000 + seed)
    for case in range(15):
        path = torn.copy(tmp_path / str(case))
        clean = Journal(path, 1 << 30)
        with capture_logs():
            clean.open()
        clean.close()
        size = path.stat().st_size
        at = rng.randrange(int(size * 0.9), size - 1)
        fault = FAULTS[(seed + case) % len(FAULTS)]
        fault(path, at, rng)
        journal = Journal(path, 1 << 30)
        with capture_logs() as logs:
            journal.open()
        found = everything(journal)
        missing = sorted(seq for _, seq in torn.committed.keys() - found.keys())
        assert all(torn.committed[key] == body for key, body in found.items()), "never a changed message"
        first_hit = missing[0] if missing else len(torn.committed)
        assert first_hit > len(torn.committed) * 0.85, (fault.__name__, at / size, first_hit)
        if missing:
            events = {entry["event"] for entry in logs}
            assert events & {"outbox_damaged", "outbox_blocks_unreadable"}, (fault.__name__, at)
            assert journal.state.damaged >= 1
        if fault is appended:
            assert not missing
        assert journal.state.messages == len(found)
        commit(journal, 5000)
        assert len(everything(journal)) == len(found) + PER_BLOCK
        journal.close()


def test_lost_first_page_is_made_again(torn: Torn, tmp_path: Path) -> None:
    path = torn.copy(tmp_path / "x")
    clean = Journal(path, 1 << 30)
    clean.open()
    clean.close()
    with path.open("r+b") as file:
        file.write(random.Random(1).randbytes(PAGE_BYTES))
    journal = Journal(path, 1 << 30)
    with capture_logs() as logs:
        journal.open()
    assert everything(journal) == torn.committed
    assert journal.state.session == SessionMark(SESSION, 1, 1000 * (IN_FILE + IN_WAL - 1))
    assert {"outbox_damaged", "outbox_salvaged"} <= {entry["event"] for entry in logs}
    assert path.with_name("outbox.db.damaged-1").exists()
    journal.close()


def test_holes_in_the_middle_cost_what_they_hit(torn: Torn, tmp_path: Path) -> None:
    path = torn.copy(tmp_path / "x")
    clean = Journal(path, 1 << 30)
    clean.open()
    clean.close()
    pages = path.stat().st_size // PAGE_BYTES
    with path.open("r+b") as file:
        for page in (pages // 3, pages // 2, pages // 2 + 1):
            file.seek(page * PAGE_BYTES)
            file.write(random.Random(page).randbytes(PAGE_BYTES))
    journal = Journal(path, 1 << 30)
    journal.open()
    found = everything(journal)
    lost = len(torn.committed) - len(found)
    assert all(torn.committed[key] == body for key, body in found.items())
    assert 0 < lost <= 12 * PER_BLOCK, lost
    assert journal.state.damaged == lost
    assert journal.state.messages == len(found)
    journal.close()


def test_nothing_of_ours_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(random.Random(3).randbytes(100_000))
    journal = Journal(path, 1 << 30)
    with capture_logs() as logs:
        journal.open()
    assert everything(journal) == {}
    assert "outbox_salvaged" in {entry["event"] for entry in logs}
    commit(journal, 0)
    journal.close()


def test_remains_do_not_fill_the_card(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    for _ in range(6):
        path.write_bytes(b"not a database" * 500)
        journal = Journal(path, 1 << 30)
        journal.open()
        journal.close()
    assert sorted(file.name for file in tmp_path.glob("*.damaged-?")) == [f"outbox.db.damaged-{n}" for n in (4, 5, 6)]


def test_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    journal = Journal(path, 1 << 30)
    journal.open()
    assert journal._db._connection is not None
    journal._db._connection.execute("PRAGMA user_version = 9")
    journal.close()
    with pytest.raises(OutboxError, match="newer homeside"):
        Journal(path, 1 << 30).open()
    assert list(tmp_path.glob("*.damaged-*")) == []


def test_damage_met_while_running_is_salvaged_too(torn: Torn, tmp_path: Path) -> None:
    """Larger files are not checked at the start: the damage shows when a block is read."""
    path = torn.copy(tmp_path / "x")
    journal = Journal(path, 1 << 30)
    journal.open()
    assert journal._db._connection is not None
    journal._db._connection.execute("UPDATE block SET body = x'00' WHERE id = 17")
    journal._db._connection.execute("UPDATE block SET unacked = '[[1,1]]' WHERE id = 18")
    with capture_logs() as logs:
        found = everything(journal)
    assert len(found) == len(torn.committed) - 2 * PER_BLOCK
    assert [entry["event"] for entry in logs] == ["outbox_blocks_unreadable"]
    assert (logs[0]["blocks"], logs[0]["messages_lost"]) == (2, journal.state.damaged)
    assert journal.state.messages == len(found)
    journal.close()


async def test_what_memory_still_holds_of_a_ruined_file_is_written_again(tmp_path: Path) -> None:
    """The card fails under a running agent: what is in flight is in memory, and goes into the new file."""
    path = tmp_path / "outbox.db"
    outbox = Outbox(path, 1 << 30, "a")
    await outbox.open()
    for n in range(60):
        outbox.put("samples_batch", {"noise": random.Random(n).randbytes(90).hex()}, SESSION, n)
        assert outbox.next_live() is not None
    await outbox.commit()
    assert outbox._journal._db._connection is not None
    outbox._journal._db._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(PAGE_BYTES)
        file.write(random.Random(1).randbytes(size - PAGE_BYTES))
    outbox._journal._db._connection.execute("PRAGMA shrink_memory")
    outbox.put("samples_batch", {"x": 1}, SESSION, 1)
    with capture_logs() as logs:
        await outbox.commit()
    assert {"outbox_damaged", "outbox_salvaged"} <= {entry["event"] for entry in logs}
    await outbox.close()
    again = Journal(path, 1 << 30)
    again.open()
    assert {seq for _, seq in everything(again)} == set(range(1, 62))
    again.close()


async def test_a_card_that_is_full_at_the_start_is_read_and_never_taken_for_damaged(torn: Torn, tmp_path: Path) -> None:
    """Killed, and started again on a card that filled up meanwhile: the backlog stays, and can be delivered."""
    path = torn.copy(tmp_path / "x")
    outbox = Outbox(path, 1 << 30, "b")
    with capture_logs() as logs, full_card(PAGE_BYTES):
        await outbox.open()
        outbox.put("samples_batch", {"x": 1}, SESSION, 1)
        with pytest.raises(OutboxUnwritable):
            await outbox.commit()
        await outbox.refill(100)
        sent = set()
        while (message := outbox.next_due()) is not None:
            sent.add((message.boot, message.seq))
    assert sent == set(torn.committed)
    assert "outbox_damaged" not in {entry["event"] for entry in logs}
    await outbox.close()
    again = Journal(path, 1 << 30)
    again.open()
    assert set(everything(again)) == set(torn.committed) | {("b", 1)}
    assert again.state.damaged == 0
    again.close()


@pytest.mark.parametrize("room", [2 * PAGE_BYTES, 20_000, 45_000])
def test_a_salvage_cut_short_by_a_full_card_is_gone_on_with(
    torn: Torn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr("agent.outbox.journal.CARRIED_AT_ONCE", 10)
    path = torn.copy(tmp_path / "x")
    zeroes(path, path.stat().st_size - 3 * PAGE_BYTES, random.Random(0))
    unhurt = Journal(Path(shutil.copytree(path.parent, tmp_path / "y")) / path.name, 1 << 30)
    unhurt.open()
    readable, lost = everything(unhurt), unhurt.state.damaged
    unhurt.close()
    journal = Journal(path, 1 << 30)
    for _ in range(3):
        with full_card(room), pytest.raises(OutboxUnwritable):
            journal.open()
        assert not journal.is_open
    journal.open()
    assert everything(journal) == readable
    assert journal.state.session == SessionMark(SESSION, 1, 1000 * (IN_FILE + IN_WAL - 1)), "state outlives it, too"
    assert (journal.state.messages, journal.state.damaged) == (len(readable), lost)
    assert [file.name for file in path.parent.glob("*-1")] == ["outbox.db.damaged-1"]
    journal.close()


def test_a_power_cut_between_two_renames_costs_nothing(torn: Torn, tmp_path: Path) -> None:
    path = torn.copy(tmp_path / "x")
    path.rename(path.with_name("outbox.db.salvage-1"))
    journal = Journal(path, 1 << 30)
    journal.open()
    assert everything(journal) == torn.committed
    assert journal.state.damaged == 0
    journal.close()


async def test_a_file_ruined_on_a_full_card_comes_back_with_what_memory_holds(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = Outbox(path, 1 << 30, "a")
    await outbox.open()
    for n in range(60):
        outbox.put("samples_batch", {"noise": random.Random(n).randbytes(90).hex()}, SESSION, n)
        assert outbox.next_live() is not None
    await outbox.commit()
    assert outbox._journal._db._connection is not None
    outbox._journal._db._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    garbage(path, PAGE_BYTES, random.Random(1))
    outbox._journal._db._connection.execute("PRAGMA shrink_memory")
    outbox.put("samples_batch", {"x": 1}, SESSION, 1)
    with full_card(PAGE_BYTES):
        for _ in range(2):
            with pytest.raises(OutboxUnwritable):
                await outbox.commit()
    await outbox.commit()
    await outbox.close()
    again = Journal(path, 1 << 30)
    again.open()
    assert {seq for _, seq in everything(again)} == set(range(1, 62))
    again.close()
