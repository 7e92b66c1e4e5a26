"""From the kit's slot to a viewer's decoder and back: publishing, poses, privacy, going and coming back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cameras import KitCamera
from tests.programs import RelayProgram, token
from tests.watching import Watcher, eventually


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProgram]:
    program = RelayProgram(tmp_path_factory.mktemp("relay"))
    yield program
    assert program.stop() == 0
    assert not program.faults()


def whip(relay: RelayProgram, kit: str) -> str:
    return f"{relay.http}/video/api/whip/{kit}"


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_a_kits_camera_reaches_its_viewers(relay: RelayProgram, codec: str) -> None:
    kit = f"bed-{codec.lower()}"
    async with KitCamera(whip(relay, kit), codec=codec, poses=True) as camera:
        await camera.connected()
        async with Watcher(relay.http, kit=kit, pose=True) as early, Watcher(relay.http) as late:
            await early.frames(30)
            await late.frames(30)
            assert set(early.sizes) == {(640, 480)}
            assert all(counter < 60 for counter in early.counters)
            assert len(set(early.counters)) > 15
            await early.until(lambda: any(pose["rtp"] for pose in early.poses), "pose with a timestamp")
            assert early.poses[-1].keys() == {"counter", "landmarks", "level", "rtp"}
        async with httpx.AsyncClient(base_url=relay.http) as client:
            listed = {one["kit"]: one for one in (await client.get("/api/cameras")).json()["cameras"]}
            assert listed[kit]["live"] is True
            assert (listed[kit]["codec"], listed[kit]["level"]) == (codec, "clear")
    assert camera.problems == []


async def test_poses_carry_the_timestamps_of_their_frames(relay: RelayProgram) -> None:
    """Between two poses lies exactly the time between their frames as the viewer's RTP counts it."""
    async with KitCamera(whip(relay, "bed-rtp"), poses=True) as camera:
        await camera.connected()
        async with Watcher(relay.http, kit="bed-rtp", pose=True) as seen:
            await seen.frames(45)
            stamped = {pose["rtp"] for pose in seen.poses if pose["rtp"]}
            sources = seen.peer.getReceivers()[0]
            shown = sources._RTCRtpReceiver__timestamp_mapper
            assert stamped, "no pose came with a timestamp"
            origin = shown._last - shown._origin
            assert min((origin + shown._origin - one) % 2**32 for one in stamped) < 90_000 * 3


async def test_nothing_leaves_that_the_patient_does_not_allow(relay: RelayProgram) -> None:
    async with KitCamera(whip(relay, "bed-shy"), level="skeleton", poses=True) as camera:
        await camera.connected()
        async with Watcher(relay.http, kit="bed-shy", pose=True) as seen:
            await seen.until(lambda: len(seen.poses) > 5, "poses")
            assert seen.sizes == []
            assert seen.poses[-1]["level"] == "skeleton"
            assert camera.publisher.figures()["frames"] == 0

            camera.gate.word = "clear"
            await seen.frames(10)
            assert seen.poses[-1]["level"] == "clear"

            camera.gate.word = "blurred"
            await seen.until(lambda: seen.poses[-1]["level"] == "blurred", "word of the blur")
            await seen.frames(10)
            assert seen.newest is not None
            clear = camera._pictures[0][:, :, 0].astype(float)
            edges = float(abs(seen.newest[:, 1:].astype(float) - seen.newest[:, :-1]).max())
            assert edges < 0.5 * float(abs(clear[:, 1:] - clear[:, :-1]).max())

            camera.gate.word = "skeleton"
            await seen.until(lambda: seen.poses[-1]["level"] == "skeleton", "word of the end")
            before = camera.publisher.figures()["frames"]
            await seen.until(lambda: len(seen.poses) > 40, "poses")
            assert camera.publisher.figures()["frames"] <= before + 1


async def test_viewers_go_on_when_the_kit_comes_back(relay: RelayProgram) -> None:
    async with KitCamera(whip(relay, "bed-gone")) as camera:
        await camera.connected()
        async with Watcher(relay.http, kit="bed-gone") as seen:
            await seen.frames(10)
            for task in camera._tasks:
                task.cancel()
            await asyncio.gather(*camera._tasks, return_exceptions=True)
            async with httpx.AsyncClient(base_url=relay.http) as client:

                async def gone() -> bool:
                    cameras = (await client.get("/api/cameras")).json()["cameras"]
                    return any(one["kit"] == "bed-gone" and not one["live"] for one in cameras)

                await eventually(gone, "word that the kit went")
            async with KitCamera(whip(relay, "bed-gone")) as again:
                await again.connected()
                await seen.frames(30)


async def test_the_kit_comes_back_after_the_relay_was_away(tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path)
    async with KitCamera(whip(relay, "bed-1")) as camera:
        await camera.connected()
        await asyncio.to_thread(relay.kill)
        await asyncio.to_thread(lambda: camera.slot)
        relay = await asyncio.to_thread(relay.again)

        async def sees() -> bool:
            async with httpx.AsyncClient(base_url=relay.http) as client:
                return any(one["live"] for one in (await client.get("/api/cameras")).json()["cameras"])

        await eventually(sees, "camera after the restart", within=60)
        async with Watcher(relay.http, kit="bed-1") as seen:
            await seen.frames(15)
    assert relay.stop() == 0


async def test_beyond_loopback_tokens_say_who_sends_and_who_sees(tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path, "--host", "0.0.0.0")
    kit, other = (token(tmp_path, "--role", "kit", "--name", name) for name in ("bed-1", "bed-2"))
    staff = token(tmp_path, "--role", "physiotherapist", "--name", "anna")
    async with KitCamera(whip(relay, "bed-1"), token=other) as thief:
        async with asyncio.timeout(30):
            while not thief.problems:
                await asyncio.sleep(0.05)
        assert "403" in thief.problems[0]
    async with KitCamera(whip(relay, "bed-1"), token=kit) as camera:
        await camera.connected()
        async with httpx.AsyncClient(base_url=relay.http) as client:
            assert (await client.get("/api/cameras")).status_code == 401
            offered = {"sdp": "v=0", "type": "offer", "kit": "bed-1"}
            for bearer, status in ((None, 401), (other, 403), (staff, 400)):
                headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
                assert (await client.post("/api/offer", json=offered, headers=headers)).status_code == status
            mine = (await client.get("/api/cameras", headers={"Authorization": f"Bearer {other}"})).json()
            assert mine == {"cameras": []}
    assert relay.stop() == 0
