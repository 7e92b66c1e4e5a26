"""A recording ends whole, whenever it is asked to; a viewer that could not be answered leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import islice
from pathlib import Path

import av
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from relay.errors import BadOffer
from relay.process.metrics import Metrics
from relay.video import recorder, sample
from relay.video.gateway import FilePublisher
from relay.video.peers import Network, answer_viewer
from relay.video.publication import Publication
from relay.video.recorder import Recordings

PICTURES = 60


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    sample.make(path)
    return path


def camera(film: Path) -> tuple[Publication, FilePublisher]:
    publication = Publication("kit:bed-1", "H264", Metrics(), kit="bed-1")
    return publication, FilePublisher(film, publication)


def show(publisher: FilePublisher, pictures: int) -> None:
    """All of them now, as a line that was choked would give them."""
    for unit in islice(publisher._units(), pictures):
        publisher._send(unit, 0.0)


def pictures(path: Path) -> int:
    with av.open(str(path)) as film:
        return sum(1 for _ in film.decode(video=0))


async def test_what_is_being_written_when_it_ends_is_written_once(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that takes its time: the end comes while a thread has the file, and pictures still come meanwhile."""
    busy, most, writing = 0, 0, threading.Event()
    lock, to_disk = threading.Lock(), recorder._to_disk

    def slow(path: Path) -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        writing.set()
        time.sleep(0.3)
        to_disk(path)
        with lock:
            busy -= 1

    monkeypatch.setattr(recorder, "_to_disk", slow)
    publication, publisher = camera(film)
    recordings = Recordings(tmp_path)
    recordings.begin(publication, "a test")
    show(publisher, PICTURES)
    await asyncio.to_thread(writing.wait, 30)
    show(publisher, PICTURES)
    about = await recordings.end("bed-1")
    assert (about.frames, about.dropped, most) == (2 * PICTURES, 0, 1)
    assert pictures(recordings.file(about.id)) == 2 * PICTURES
    assert recordings.listed()[0]["ended_ms"] is not None
    assert not publication.listeners


async def test_one_that_the_disk_ends_is_whole_as_far_as_it_came(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publication, publisher = camera(film)
    recordings = Recordings(tmp_path)
    about = recordings.begin(publication, "a test")
    show(publisher, PICTURES)
    async with asyncio.timeout(30):
        while about.frames < PICTURES:
            await asyncio.sleep(0.05)
    monkeypatch.setattr(recorder, "LEAST_FREE_BYTES", 1 << 62)
    async with asyncio.timeout(30):
        while recordings.running("bed-1"):
            await asyncio.sleep(0.05)
    assert pictures(recordings.file(about.id)) == PICTURES
    assert recordings.listed()[0]["ended_ms"] is not None
    assert not publication.listeners


@pytest.mark.parametrize("raw", [True, False], ids=["packets", "frames"])
async def test_a_viewer_that_cannot_be_answered_leaves_nothing_behind(raw: bool) -> None:
    publication = Publication("kit:bed-1", "H264", Metrics(), kit="bed-1")
    browser = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    browser.addTransceiver("video", direction="recvonly")
    offer = await browser.createOffer()
    await browser.close()
    unknown = offer.sdp.replace("H264", "H299").replace("VP8", "VP7")
    with pytest.raises(BadOffer):
        await answer_viewer(unknown, publication, Network(), Metrics(), raw=raw)
    assert not publication.pose
    assert not publication.legs
    assert not publication.listeners
