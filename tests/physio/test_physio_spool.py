"""Uploads that meet: of two senders one video comes, whole; what has no place, or no session, is not written."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.errors import Conflict, NotFound, TooLarge
from relay.physio.video.spool import Spool

MOST = 10_000


async def _bytes(
    *pieces: bytes, then: asyncio.Event | None = None, begun: asyncio.Event | None = None
) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    if begun is not None:
        begun.set()
    if then is not None:
        await then.wait()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path, MOST)


async def test_whose_body_has_come_but_not_ended_gives_way_to_a_later_sender(spool: Spool) -> None:
    upload, begun, end = str(uuid.uuid4()), asyncio.Event(), asyncio.Event()
    earlier = asyncio.create_task(spool.append(upload, 0, _bytes(b"a" * 100, then=end, begun=begun)))
    await begun.wait()
    assert await spool.append(upload, 0, _bytes(b"b" * 30)) == 30
    end.set()
    with pytest.raises(Conflict, match="Another sender"):
        await earlier
    assert (await spool.whole(upload)).read_bytes() == b"b" * 30


async def test_what_is_being_kept_is_not_begun_anew(spool: Spool) -> None:
    """Its file would be cut off under the name of the whole video."""
    upload = str(uuid.uuid4())
    await spool.append(upload, 0, _bytes(b"a" * 100))
    with spool.settled(upload), pytest.raises(Conflict, match="being kept"):
        await spool.append(upload, 0, _bytes(b"b"))
    assert (await spool.whole(upload)).read_bytes() == b"a" * 100
    assert await spool.append(upload, 0, _bytes(b"b")) == 1


async def test_what_can_have_no_place_is_refused_before_anything_changes(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = str(uuid.uuid4())
    await spool.append(upload, 0, _bytes(b"a" * 100))
    with pytest.raises(TooLarge, match="10000 bytes"):
        await spool.append(upload, 0, _bytes(b"b"), MOST + 1)
    with pytest.raises(TooLarge, match="10000 bytes"):
        await spool.append(upload, 100, _bytes(b"b"), MOST - 99)
    monkeypatch.setattr("relay.physio.video.spool.LEAST_FREE_BYTES", 2**62)
    with pytest.raises(TooLarge, match="nearly full"):
        await spool.append(upload, 0, _bytes(b"b"))
    assert spool.size(upload) == 100


async def test_a_disk_that_fills_while_a_video_comes_keeps_its_reserve(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def long() -> AsyncIterator[bytes]:
        yield b"a" * 100
        monkeypatch.setattr("relay.physio.video.spool.LEAST_FREE_BYTES", 2**62)
        yield b"b" * 100

    upload = str(uuid.uuid4())
    with pytest.raises(TooLarge, match="nearly full"):
        await spool.append(upload, 0, long())
    assert spool.size(upload) == 100


async def test_a_session_deleted_meanwhile_ends_its_upload(spool: Spool, tmp_path: Path) -> None:
    upload = str(uuid.uuid4())

    async def long() -> AsyncIterator[bytes]:
        yield b"a" * 100
        spool.drop(upload)
        yield b"b" * 100

    with pytest.raises(NotFound, match="deleted while it came"):
        await spool.append(upload, 0, long())
    assert list(tmp_path.iterdir()) == []
