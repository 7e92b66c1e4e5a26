"""FFmpeg's own WHIP muxer as a publisher: a program that shares no line with aiortc, seen by two viewers."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from relay.video import sample
from tests.peers import find_peer
from tests.programs import RelayProgram
from tests.watching import Watcher


def certificate(folder: Path) -> dict[str, str]:
    """On P-256. FFmpeg built with GnuTLS makes one on P-224 by itself, which OpenSSL refuses."""
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=camera"]
    cert, key = folder / "camera.pem", folder / "camera.key"
    words += ["-days", "1", "-out", str(cert), "-keyout", str(key)]
    subprocess.run([find_peer("openssl", "openssl"), *words], check=True, capture_output=True)
    return {"cert_file": str(cert), "key_file": str(key)}


def film(url: str, options: dict[str, str], ended: threading.Event) -> None:
    """The sample's pictures in H.264, a keyframe each half second, until told to end."""
    with av.open(url, "w", format="whip", options=options) as muxer:
        stream: Any = muxer.add_stream("libx264", rate=sample.RATE)
        stream.width, stream.height, stream.pix_fmt = sample.WIDTH, sample.HEIGHT, "yuv420p"
        stream.codec_context.profile, stream.codec_context.gop_size = "Baseline", sample.KEY_EVERY
        stream.options = {"preset": "veryfast", "tune": "zerolatency", "level": "31"}
        began, number = time.monotonic(), 0
        while not ended.is_set():
            frame = av.VideoFrame.from_ndarray(sample.picture(number % 60), format="gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, sample.RATE)
            muxer.mux(stream.encode(frame))
            number += 1
            time.sleep(max(0.0, began + number / sample.RATE - time.monotonic()))


async def test_ffmpeg_publishes(tmp_path: Path) -> None:
    if "whip" not in av.formats_available:
        pytest.skip("this build of FFmpeg has no WHIP muxer")
    relay = await asyncio.to_thread(RelayProgram, tmp_path)
    ended = threading.Event()
    url = f"{relay.http}/video/api/whip/camera"
    filming = asyncio.create_task(asyncio.to_thread(film, url, certificate(tmp_path), ended))
    try:
        await asyncio.to_thread(relay.child.wait_for_event, "video_published", 30.0)
        async with Watcher(relay.http, kit="camera") as early:
            await early.frames(15)
            async with Watcher(relay.http, kit="camera") as late:
                await late.frames(15)
        assert set(early.sizes) == {(sample.WIDTH, sample.HEIGHT)}
        assert len(set(late.counters)) > 5
    finally:
        ended.set()
        await filming
    await asyncio.to_thread(relay.child.wait_for_event, "video_publisher_gone", 30.0)
    assert await asyncio.to_thread(relay.stop) == 0
    assert not relay.faults()
