"""From the kit's slot to a viewer's decoder and back: publishing, poses, privacy, going and coming back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av
import httpx
import paho.mqtt.client as mqtt
import pytest

from core.contracts.topics import Lane, topic
from relay.video.sample import read_squares
from tests.cameras import KitCamera
from tests.peers import start_homeside
from tests.programs import RelayProgram, token
from tests.waiting import comes
from tests.watching import Watcher


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
            assert {"counter", "landmarks", "level", "rtp"} in [pose.keys() for pose in early.poses]
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

                await comes(gone, "word that the kit went")
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

        await comes(sees, "camera after the restart")
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


async def test_the_kits_own_program_shows_its_camera_once_the_patient_agrees(tmp_path: Path) -> None:
    """homeside agent with a camera: no picture before a consent has come down, then pictures, until it ends."""
    relay = await asyncio.to_thread(RelayProgram, tmp_path / "relay")
    words = ("--camera", "test", "--broker", f"mqtt://127.0.0.1:{relay.mqtt_port}", "--kit", "bed-9")
    env = {"HOMESIDE_AGENT_VIDEO__RELAY": relay.http}
    agent = start_homeside("agent", *words, "--state", tmp_path / "kit", env=env)
    try:
        await asyncio.to_thread(agent.wait_for_event, "video_connected", 60.0)
        async with Watcher(relay.http, kit="bed-9", pose=True) as seen:
            await seen.until(lambda: bool(seen.poses), "word from the kit")
            assert seen.poses[-1]["level"] == "skeleton"
            assert seen.sizes == []
            await asyncio.to_thread(tell, relay, "bed-9", {"level": "clear", "minutes": 5, "by": "Anna, by telephone"})
            await seen.frames(10, within=60)
            await asyncio.to_thread(tell, relay, "bed-9", {"level": "skeleton"})
            await seen.until(lambda: seen.poses[-1]["level"] == "skeleton", "the end of consent")
    finally:
        assert agent.end() == 0
        assert relay.stop() == 0


@pytest.mark.parametrize("codec", ["H264", pytest.param("VP8", marks=pytest.mark.soak)])
async def test_a_recording_is_what_was_sent_even_after_a_kill(tmp_path: Path, codec: str) -> None:
    relay = await asyncio.to_thread(RelayProgram, tmp_path)
    url = f"{relay.http}/video/api"
    async with KitCamera(whip(relay, "bed-1"), codec=codec) as camera, httpx.AsyncClient(timeout=30) as client:
        await camera.connected()
        assert (await client.post(f"{url}/cameras/bed-1/recording", json={})).status_code == 400
        begun = await client.post(f"{url}/cameras/bed-1/recording", json={"by": "Dr. Sato, gait"})
        assert begun.status_code == 201
        assert (await client.post(f"{url}/cameras/bed-1/recording", json={"by": "x"})).status_code == 409
        picture = await client.get(f"{url}/cameras/bed-1/snapshot.jpg")
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.content[:2] == b"\xff\xd8"
        assert (await client.get(f"{url}/cameras")).json()["cameras"][0]["recorded"] is True
        await films(camera, 90)
        await asyncio.sleep(2)
        await asyncio.to_thread(relay.kill)
        relay = await asyncio.to_thread(relay.again)
        listed = (await client.get(f"{url}/recordings")).json()["recordings"]
        assert [(one["by"], one["running"], one["ended_ms"]) for one in listed] == [("Dr. Sato, gait", False, None)]
        file = await client.get(f"{url}/recordings/{begun.json()['id']}")
        assert (await client.get(f"{url}/recordings/..%2f..%2fsecret")).status_code == 404
        cut = counters_in(file.content, tmp_path / "cut")
        assert len(cut) > 30, "a kill leaves all but the last fragments"
        assert sum(0 < (b - a) % 60 < 30 for a, b in pairwise(cut)) > 0.8 * len(cut)
        await camera.connected()

        async def begins() -> bool:
            return (await client.post(f"{url}/cameras/bed-1/recording", json={"by": "again"})).status_code == 201

        await comes(begins, "camera after the restart")
        await films(camera, 60)
        ended = (await client.delete(f"{url}/cameras/bed-1/recording")).json()
        assert ended["frames"] > 10
        whole = await client.get(f"{url}/recordings/{ended['id']}", headers={"Range": "bytes=0-99"})
        assert whole.status_code == 206
        everything = (await client.get(f"{url}/recordings/{ended['id']}")).content
        assert len(counters_in(everything, tmp_path / "whole")) == ended["frames"]
    assert relay.stop() == 0


async def films(camera: KitCamera, count: int) -> None:
    """Returns when the kit has sent so many more frames."""
    before = camera.publisher.figures()["frames"]
    async with asyncio.timeout(60):
        while camera.publisher.figures()["frames"] < before + count:
            await asyncio.sleep(0.1)


def counters_in(data: bytes, path: Path) -> list[int]:
    """The number in each picture of a recording."""
    path.write_bytes(data)
    with av.open(str(path)) as container:
        return [read_squares(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


def tell(relay: RelayProgram, kit: str, args: dict[str, object]) -> None:
    """A command down, as the relay sends it."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", relay.mqtt_port)
    client.loop_start()
    body = {"type": "command", "payload": {"name": "set_privacy", "args": args}}
    client.publish(topic(kit, Lane.COMMAND), json.dumps(body), qos=1).wait_for_publish(10)
    client.loop_stop()
    client.disconnect()
