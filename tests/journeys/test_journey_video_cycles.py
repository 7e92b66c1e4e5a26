"""Viewers come and go, a thousand times in the soak run: what they took of the relay is given back each time."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.cameras import KitCamera
from tests.programs import RelayProgram
from tests.waiting import comes
from tests.watching import Watcher

AT_ONCE = 5
WARM = 30


class Held(NamedTuple):
    """What the relay's process holds; `rss` in bytes."""

    tasks: int
    descriptors: int
    threads: int
    rss: int


@pytest.mark.parametrize("cycles", [30, pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
async def test_whoever_leaves_leaves_nothing_behind(tmp_path: Path, cycles: int) -> None:
    relay = await asyncio.to_thread(RelayProgram, tmp_path)
    async with (
        KitCamera(f"{relay.http}/video/api/whip/bed-1") as camera,
        httpx.AsyncClient(base_url=relay.http, timeout=30) as client,
    ):
        await camera.connected()
        await watched(client, WARM)
        before = await settled(client, relay)
        await watched(client, cycles)
        after = before

        async def back() -> bool:
            nonlocal after
            after = await held(client, relay)
            rest = all(now <= then for now, then in zip(after[:3], before[:3], strict=True))
            return rest and after.rss <= before.rss * 1.05

        with suppress(AssertionError):
            await comes(back, "release")
        assert await back(), f"{after} after {before}"
    assert await asyncio.to_thread(relay.stop) == 0
    assert not relay.faults()


async def test_a_flood_of_offers_is_bounded_and_harms_nobody(tmp_path: Path) -> None:
    """Sixty at once where eight may watch: the rest are told when to come again, and who watches goes on."""
    relay = await asyncio.to_thread(RelayProgram, tmp_path, env={"HOMESIDE_RELAY_VIDEO__VIEWERS": "8"})
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    offer = {"sdp": peer.localDescription.sdp, "type": "offer"}
    await peer.close()
    async with Watcher(relay.http) as seen, httpx.AsyncClient(base_url=relay.http, timeout=60) as client:
        await seen.frames(5)
        answers = await asyncio.gather(*(client.post("/api/offer", json=offer) for _ in range(60)))
        assert sorted({answer.status_code for answer in answers}) == [200, 503]
        refused = [answer for answer in answers if answer.status_code == 503]
        assert len(refused) == 53
        assert {answer.headers["retry-after"] for answer in refused} == {"2"}
        await seen.frames(30)
        for answer in answers:
            if answer.status_code == 200:
                assert (await client.delete(f"/api/session/{answer.json()['session_id']}")).status_code == 200
        async with Watcher(relay.http) as late:
            await late.frames(5)
    assert await asyncio.to_thread(relay.stop) == 0
    assert not relay.faults()


async def watched(client: httpx.AsyncClient, cycles: int) -> None:
    """So many viewers, a few at a time, each until its first packet has come."""
    for begun in range(0, cycles, AT_ONCE):
        await asyncio.gather(*(come_and_go(client, number) for number in range(begun, min(begun + AT_ONCE, cycles))))


async def come_and_go(client: httpx.AsyncClient, number: int) -> None:
    """A third of them take their leave in the document's words, a third just close, a third never connect."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.createDataChannel("pose")
    peer.addTransceiver("video", direction="recvonly")
    try:
        await peer.setLocalDescription(await peer.createOffer())
        answer = await client.post("/api/offer", json={"sdp": peer.localDescription.sdp, "type": "offer"})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        if number % 3:
            await peer.setRemoteDescription(RTCSessionDescription(found["sdp"], "answer"))
            async with asyncio.timeout(30):
                while not peer.getTransceivers()[0].receiver.getSynchronizationSources():
                    await asyncio.sleep(0.01)
        if number % 3 != 1:
            assert (await client.delete(f"/api/session/{found['session_id']}")).status_code == 200
    finally:
        await peer.close()


async def settled(client: httpx.AsyncClient, relay: RelayProgram) -> Held:
    """What the relay holds once it knows of no viewer, and has stopped giving back."""

    async def nobody() -> bool:
        return bool((await client.get("/api/sessions")).json()["count"] == 0)

    await comes(nobody, "end of all sessions")
    found = [await held(client, relay)]
    while len(found) < 6 or found[-1].tasks < found[-2].tasks or found[-1].descriptors < found[-2].descriptors:
        await asyncio.sleep(1.0)
        found.append(await held(client, relay))
    return found[-1]


async def held(client: httpx.AsyncClient, relay: RelayProgram) -> Held:
    figures = (await client.get("/metrics")).text
    tasks = next(float(line.split()[1]) for line in figures.splitlines() if line.startswith("homeside_tasks "))
    process = Path(f"/proc/{relay.child.pid}")
    pages = int((process / "statm").read_text().split()[1])
    descriptors, threads = (len(list((process / name).iterdir())) for name in ("fd", "task"))
    return Held(int(tasks), descriptors, threads, pages * os.sysconf("SC_PAGE_SIZE"))
