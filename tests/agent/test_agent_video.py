"""What leaves by the camera's track is what is allowed when it leaves, also from an encoder that holds pictures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from agent.privacy import Level, Privacy
from agent.sources.slot import Frame, Image, Slot
from agent.video import encoder
from agent.video.camera import CameraTrack
from agent.video.steps import Steps

HOLDING = ("libx264", {"preset": "veryfast", "rc-lookahead": "8", "bframes": "0", "threads": "1"})
"""Gives a picture's packet some pictures later, as encoders in hardware do."""
DETAIL = 40.0
"""Standard deviation of grey: the stripes have more, their blur has less."""


def stripes() -> Image:
    """Too fine to outlive the veil."""
    image = np.zeros((240, 320, 3), np.uint8)
    image[:, (np.arange(320) // 4) % 2 == 0] = 255
    return image


class Filming:
    """A camera that always shows `image`, and a viewer that decodes each packet of the track."""

    def __init__(self, folder: Path) -> None:
        self.image = stripes()
        self.privacy = Privacy(folder / "privacy.log")
        self._slot = Slot()
        self.track = CameraTrack(self._slot, self.privacy, "H264", Steps(1_000_000), 30, lambda: None)
        self._decoder: Any = av.CodecContext.create("h264", "r")
        self._decoder.thread_count = 1

    async def film(self) -> None:
        number = 0
        while True:
            number += 1
            self._slot.put(Frame(self.image, time.monotonic_ns(), number))
            await asyncio.sleep(0.005)

    async def seen(self, packets: int) -> list[np.ndarray[Any, Any]]:
        """What a viewer sees of the next packets, grey."""
        found = []
        async with asyncio.timeout(30):
            for _ in range(packets):
                packet = await self.track.recv()
                found += [frame.to_ndarray(format="gray") for frame in self._decoder.decode(packet)]
        return found


@asynccontextmanager
async def filming(folder: Path) -> AsyncIterator[Filming]:
    one = Filming(folder)
    camera = asyncio.create_task(one.film())
    try:
        yield one
    finally:
        camera.cancel()
        one.track.stop()


@pytest.fixture
def holding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoder.BY_PREFERENCE, "H264", (HOLDING,))  # type: ignore[arg-type]


@pytest.mark.usefixtures("holding")
async def test_what_an_encoder_holds_does_not_leave_at_a_lower_level(tmp_path: Path) -> None:
    async with filming(tmp_path) as kit:
        kit.privacy.grant(Level.CLEAR, 5, "patient")
        assert min(picture.std() for picture in await kit.seen(12)) > DETAIL
        kit.privacy.grant(Level.BLURRED, 5, "patient")
        after = await kit.seen(20)
        assert len(after) >= 19
        assert max(picture.std() for picture in after) < DETAIL


@pytest.mark.usefixtures("holding")
async def test_what_an_encoder_held_at_a_withdrawal_is_gone(tmp_path: Path) -> None:
    async with filming(tmp_path) as kit:
        kit.privacy.grant(Level.CLEAR, 5, "patient")
        await kit.seen(12)
        kit.privacy.withdraw("patient")
        withheld = asyncio.create_task(kit.seen(12))
        while not kit.track.withheld:
            await asyncio.sleep(0.01)
        kit.image = np.full((240, 320, 3), 128, np.uint8)
        seen = kit.track.withheld
        while kit.track.withheld == seen:
            await asyncio.sleep(0.01)
        assert not withheld.done()
        kit.privacy.grant(Level.CLEAR, 5, "the next patient")
        assert max(picture.std() for picture in await withheld) < DETAIL
