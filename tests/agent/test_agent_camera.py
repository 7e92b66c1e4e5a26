"""Cameras as used: files that end, break and begin again, streams yanked and put back, odd pictures."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.errors import CameraError, CameraUnusable
from agent.process.backoff import Backoff
from agent.process.supervisor import supervise
from agent.sections import Camera
from agent.sources.camera.choose import device_of
from agent.sources.camera.opencv import NetworkCamera, OpenCvCamera, VideoFile, captured_ns, without_secrets
from agent.sources.camera.pi import PiCamera
from agent.sources.camera.picture import TestPicture
from agent.sources.camera.source import CameraSource
from agent.sources.camera.upright import upright
from agent.sources.slot import Frame, Slot
from tests.peers import find_peer, free_port
from tests.waiting import PATIENCE_S

FPS, SHADES = 20.0, 24


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Two dozen pictures at 20 a second, each a shade lighter than the last, so that a picture tells its number."""
    path = tmp_path / "shades.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (160, 120))
    for shade in range(SHADES):
        writer.write(np.full((120, 160, 3), 10 * shade + 5, np.uint8))
    writer.release()
    return path


def camera(device: str, slot: Slot | None = None, **more: object) -> CameraSource:
    settings = Camera(device=str(device), **more)  # type: ignore[arg-type]
    return CameraSource(settings, lambda: device_of(settings), slot or Slot())


async def gather(source: CameraSource, enough: int, within_s: float = PATIENCE_S) -> list[Frame]:
    """So many frames, or those until the source ended by itself."""
    running = asyncio.create_task(source.run())
    found: list[Frame] = []
    try:
        async with asyncio.timeout(within_s):
            while len(found) < enough:
                waiting = asyncio.create_task(source.slot.newest(found[-1].number if found else 0))
                await asyncio.wait([waiting, running], return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done():
                    waiting.cancel()
                    break
                found.append(waiting.result())
    finally:
        if not running.done():
            running.cancel()
        done = await asyncio.gather(running, return_exceptions=True)
    if isinstance(done[0], CameraError):
        raise done[0]
    return found


def frame(number: int) -> Frame:
    return Frame(np.zeros((16, 16, 3), np.uint8), number * 1000, number)


async def test_the_newest_wins_and_what_nobody_took_is_counted() -> None:
    slot = Slot()
    waiting = asyncio.create_task(slot.newest())
    await asyncio.sleep(0)
    for number in (1, 2, 3):
        slot.put(frame(number))
    assert (await waiting).number == 3
    assert slot.dropped == 2
    assert (await slot.newest(2)).number == 3
    late = asyncio.create_task(slot.newest(3))
    await asyncio.sleep(0)
    assert not late.done()
    await asyncio.to_thread(slot.put, frame(4))
    assert (await asyncio.wait_for(late, 10)).number == 4
    assert slot.dropped == 2


async def test_two_readers_see_every_frame_they_are_quick_enough_for() -> None:
    slot, seen = Slot(), {"one": [], "two": []}

    async def read(name: str) -> None:
        after = 0
        while after < 20:
            after = (await slot.newest(after)).number
            seen[name].append(after)

    readers = [asyncio.create_task(read(name)) for name in seen]
    for number in range(1, 21):
        slot.put(frame(number))
        await asyncio.sleep(0.005)
    await asyncio.wait_for(asyncio.gather(*readers), 10)
    assert seen["one"][-1] == seen["two"][-1] == 20
    given_up = asyncio.create_task(slot.newest(20))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    assert slot._waiting == []


async def test_a_file_plays_at_its_own_pace_and_ends(video: Path) -> None:
    found = await gather(camera(video), 1000)
    steps = np.diff([one.captured_ns for one in found]) / 1e6
    numbers = np.diff([one.number for one in found])
    assert np.allclose(steps / numbers, 1000 / FPS, atol=1.5)
    shades = [float(one.image.mean()) for one in found]
    assert shades == sorted(shades)


async def test_a_file_that_loops_goes_on_with_numbers_that_rise(video: Path) -> None:
    found = await gather(camera(video, loop=True), SHADES + 6)
    numbers = [one.number for one in found]
    assert numbers == sorted(set(numbers))
    assert max(np.diff([float(one.image.mean()) for one in found]) * -1) > 100


async def test_a_truncated_file_gives_what_it_has_or_says_so(video: Path, tmp_path: Path) -> None:
    whole = video.read_bytes()
    index_first = tmp_path / "faststart.mp4"
    ffmpeg = find_peer("ffmpeg", "ffmpeg")
    remux = [ffmpeg, "-v", "error", "-i", video, "-c", "copy", "-movflags", "+faststart", index_first]
    subprocess.run(remux, check=True)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(index_first.read_bytes()[: int(index_first.stat().st_size * 0.8)])
    assert 1 <= len(await gather(camera(broken), 1000)) < SHADES
    for name, body in (
        ("no-index.mp4", whole[: len(whole) // 2]),
        ("empty.mp4", b""),
        ("noise.mp4", b"\x00\xff" * 999),
    ):
        (tmp_path / name).write_bytes(body)
        with pytest.raises(CameraUnusable, match=name):
            await gather(camera(tmp_path / name), 1)
    with pytest.raises(CameraUnusable, match="is not there"):
        await gather(camera(tmp_path / "nowhere.mp4"), 1)


async def test_a_camera_that_is_yanked_comes_back_when_it_is_plugged_in(video: Path) -> None:
    """A camera on the network, served by ffmpeg: killed in the middle of a picture, later started again."""
    ffmpeg, port = find_peer("ffmpeg", "ffmpeg"), free_port()
    address = f"http://user:secret@127.0.0.1:{port}/live"
    words = [ffmpeg, "-v", "error", "-re", "-stream_loop", "-1", "-i", video, "-c:v", "mpeg2video", "-f", "mpegts"]
    serve = [*words, "-listen", "1", f"http://127.0.0.1:{port}/live"]
    source, told = camera(address), []
    supervised = asyncio.create_task(
        supervise("camera", source.run, Backoff(0.05, 0.2), troubled=told.append, fatal=CameraUnusable)
    )
    serving = subprocess.Popen(serve)
    try:
        async with asyncio.timeout(60):
            first = await source.slot.newest()
            assert source.figures()["size"] == [160, 120]
            told.clear()
            serving.kill()
            serving.wait()
            while not told:
                await asyncio.sleep(0.02)
            assert "secret" not in " ".join(told)
            last = source.frames
            serving = subprocess.Popen(serve)
            again = await source.slot.newest(last)
            assert again.number > last >= first.number
            assert again.captured_ns > first.captured_ns
    finally:
        supervised.cancel()
        await asyncio.gather(supervised, return_exceptions=True)
        serving.kill()
        serving.wait()


async def test_the_test_picture_moves_at_the_rate_asked_for() -> None:
    found = await gather(camera("test", fps=50, width=320, height=240), 10)
    assert found[0].image.shape == (240, 320, 3)
    assert all((a.image != b.image).any() for a, b in itertools.pairwise(found))
    numbers, times = [one.number for one in found], [one.captured_ns for one in found]
    assert np.median(np.diff(times) / np.diff(numbers)) >= 1e9 / 50


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_pictures_are_turned_upright(rotation: int, mirror: bool) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:10, :10] = 255
    turned = upright(image, Camera(rotation=rotation, mirror=mirror))  # type: ignore[arg-type]
    expected = np.rot90(image, -rotation // 90)
    assert np.array_equal(turned, expected[:, ::-1] if mirror else expected)
    assert turned.flags.c_contiguous


def test_odd_pictures_become_ordinary_ones_or_are_refused() -> None:
    settings = Camera()
    assert upright(np.zeros((41, 67), np.uint8), settings).shape == (41, 67, 3)
    assert upright(np.zeros((41, 67, 1), np.uint8), settings).shape == (41, 67, 3)
    assert upright(np.zeros((41, 67, 4), np.uint8), settings).shape == (41, 67, 3)
    assert upright(np.zeros((4320, 7680, 3), np.uint8), settings).shape == (1080, 1920, 3)
    for shape in ((0, 10, 3), (2, 2, 3), (100, 8, 3), (20, 20, 2), (9,)):
        with pytest.raises(CameraError, match="shape"):
            upright(np.zeros(shape, np.uint8), settings)


def test_the_moment_of_capture_is_the_drivers_where_it_can_be_one() -> None:
    now = 5_000_000_000
    assert captured_ns(4_950.0, now) == 4_950_000_000
    for stamp in (0.0, 5_001.0, 1_000.0):
        assert captured_ns(stamp, now) == now


@pytest.mark.parametrize(
    ("named", "kind"),
    [
        ("test", TestPicture),
        ("pi", PiCamera),
        ("0", OpenCvCamera),
        ("/dev/video2", OpenCvCamera),
        ("rtsp://camera.local/1", NetworkCamera),
        ("squat.mp4", VideoFile),
    ],
)
def test_a_setting_names_its_kind_of_camera(named: str, kind: type) -> None:
    assert type(device_of(Camera(device=named))) is kind


async def test_what_is_not_there_is_said_with_the_remedy() -> None:
    with pytest.raises(CameraError, match="plugged in"):
        await gather(camera("/dev/video97"), 1)
    with pytest.raises(CameraError, match="python3-picamera2"):
        await gather(camera("pi"), 1)
    address = f"rtsp://anna:hunter2@127.0.0.1:{free_port()}/1?key=abc"
    with pytest.raises(CameraError, match="does not answer") as refused:
        await gather(camera(address), 1)
    assert "hunter2" not in str(refused.value)
    assert without_secrets(address).endswith("/1")
    assert "abc" not in without_secrets(address)
