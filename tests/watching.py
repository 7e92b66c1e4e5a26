"""A video viewer for tests: aiortc, which the relay's document names, decoding every frame it receives."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Self

import httpx
import numpy as np
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from relay.video.sample import read_squares
from tests.badline import BadLine
from tests.waiting import PATIENCE_S, comes


class Watcher:
    """`async with Watcher(base) as seen:` connects, and counts the frames it sees until the block ends."""

    def __init__(
        self,
        base: str,
        *,
        codec: str | None = None,
        pose: bool = False,
        line: BadLine | None = None,
        ice: RTCConfiguration | None = None,
        **body: Any,
    ) -> None:
        self.base, self.body, self.line = base, body, line
        self.peer = RTCPeerConnection(ice or RTCConfiguration(iceServers=[]))
        self.sizes: list[tuple[int, int]] = []
        self.counters: list[int] = []
        self.arrived: list[float] = []
        self.poses: list[dict[str, Any]] = []
        self.answered_s = 0.0
        self.session = ""
        self.newest: NDArray[np.uint8] | None = None
        self._reading: list[asyncio.Task[None]] = []
        transceiver = self.peer.addTransceiver("video", direction="recvonly")
        if codec:
            known = transceiver.receiver.getCapabilities("video").codecs
            transceiver.setCodecPreferences([one for one in known if one.mimeType in (f"video/{codec}", "video/rtx")])
        self.channel: RTCDataChannel | None = self.peer.createDataChannel("pose") if pose else None
        if self.channel is not None:
            self.channel.on("message", lambda text: self.poses.append(json.loads(text)))
        self.peer.on("track", lambda track: self._reading.append(asyncio.ensure_future(self._read(track))))

    async def __aenter__(self) -> Self:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        began = time.monotonic()
        sdp = self.peer.localDescription.sdp
        body = {"sdp": self.line.offered(sdp) if self.line else sdp, "type": "offer", **self.body}
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.post(f"{self.base}/api/offer", json=body)
        self.answered_s = time.monotonic() - began
        assert answer.status_code == 200, answer.text
        found = answer.json()
        self.session = found["session_id"]
        sdp = self.line.answered(found["sdp"]) if self.line else found["sdp"]
        await self.peer.setRemoteDescription(RTCSessionDescription(sdp, found["type"]))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.peer.close()
        await asyncio.gather(*self._reading)

    async def until(self, condition: Callable[[], bool], what: str, within: float = PATIENCE_S) -> None:
        await comes(condition, lambda: f"{what}; saw {len(self.sizes)} frames", within)

    async def frames(self, count: int, within: float = PATIENCE_S) -> None:
        """Wait until `count` more frames have been decoded."""
        wanted = len(self.sizes) + count
        await self.until(lambda: len(self.sizes) >= wanted, f"{count} frames", within)

    async def _read(self, track: Any) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            self.newest = frame.to_ndarray(format="gray")
            self.sizes.append((frame.width, frame.height))
            self.arrived.append(time.monotonic())
            if self.newest.shape == (480, 640):
                self.counters.append(read_squares(self.newest))


async def an_offer() -> str:
    """A viewer's offer, from a connection that is closed at once."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    sdp = str(peer.localDescription.sdp)
    await peer.close()
    return sdp
