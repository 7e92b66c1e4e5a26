"""Video in a cluster: a camera sends to one relay and is watched through any, by one stream between two relays."""

from __future__ import annotations

import asyncio
import re
from uuid import uuid4

import httpx
import pytest

from tests.cameras import KitCamera
from tests.cluster.program import ClusterProgram
from tests.waiting import comes
from tests.watching import Watcher

pytestmark = pytest.mark.timeout(180)


def whip(relay: str, kit: str) -> str:
    return f"{relay}/video/api/whip/{kit}"


def counted(relay: str, metric: str) -> float:
    found = re.search(rf"^{metric} (\S+)$", httpx.get(f"{relay}/metrics").text, re.MULTILINE)
    assert found is not None, f"{metric} is not counted"
    return float(found[1])


async def cameras(relay: str) -> dict[str, bool]:
    async with httpx.AsyncClient(base_url=relay) as client:
        return {one["kit"]: one["live"] for one in (await client.get("/video/api/cameras")).json()["cameras"]}


async def test_a_camera_is_watched_through_another_relay_by_one_stream(cluster: ClusterProgram) -> None:
    first, second, third = cluster.relays
    kit = f"bed-{uuid4().hex[:6]}"

    async def let_go() -> bool:
        return counted(second, "homeside_video_relayed") == 0 and counted(first, "homeside_video_viewers") == 0

    async with KitCamera(whip(first, kit), poses=True) as camera:
        await camera.connected()

        async def known() -> bool:
            return (await cameras(second)).get(kit, False) and (await cameras(third)).get(kit, False)

        await comes(known, "the camera in the lists of the other relays")
        async with (
            Watcher(second, kit=kit, pose=True) as one,
            Watcher(second, kit=kit) as two,
            Watcher(second, kit=kit) as three,
        ):
            for watcher in (one, two, three):
                await watcher.frames(30)
                assert set(watcher.sizes) == {(640, 480)}
                assert len(set(watcher.counters)) > 15
            await one.until(lambda: any(pose["rtp"] for pose in one.poses), "a pose with a timestamp")
            assert counted(first, "homeside_video_viewers") == 1
            assert counted(second, "homeside_video_viewers") == 3
            assert counted(second, "homeside_video_relayed") == 1
            picture = await asyncio.to_thread(httpx.get, f"{third}/video/api/cameras/{kit}/snapshot.jpg", timeout=30)
            assert picture.content[:2] == b"\xff\xd8"
        await comes(let_go, "the end of the stream between the relays")


async def test_viewers_go_on_when_the_camera_goes_to_another_relay(cluster: ClusterProgram) -> None:
    """The relay that a camera sends to is killed; the kit sends to another, and nobody has to ask again."""
    first, second, third = cluster.relays
    kit = f"bed-{uuid4().hex[:6]}"
    async with KitCamera(whip(first, kit)) as camera:
        await camera.connected()

        async def known() -> bool:
            return (await cameras(third)).get(kit, False)

        await comes(known, "the camera in another relay's list")
        async with Watcher(third, kit=kit) as watcher:
            await watcher.frames(30)
            cluster.kill("relay-1")
            async with KitCamera(whip(second, kit)) as again:
                await again.connected()
                await watcher.frames(90)
                assert set(watcher.sizes) == {(640, 480)}
    await asyncio.to_thread(cluster.wait_ready)


async def test_a_camera_that_no_relay_has_is_not_found(cluster: ClusterProgram) -> None:
    answer = await asyncio.to_thread(
        httpx.get, f"{cluster.relays[1]}/video/api/cameras/nowhere/snapshot.jpg", timeout=30
    )
    assert (answer.status_code, set(answer.json())) == (404, {"detail"})
