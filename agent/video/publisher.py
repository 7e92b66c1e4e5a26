"""Publishes the kit's camera to the relay by WHIP, one connection after another, as long as the kit runs.

A connection ends when the network or the relay fails; the supervisor starts the next. While the patient allows no
pictures, the connection stays open and carries only poses. The level is sent regularly, so that viewers can show the
reason.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from aiortc import RTCConfiguration, RTCDataChannel, RTCIceServer, RTCPeerConnection, RTCRtpSender
from aiortc import RTCSessionDescription as Description
from aiortc.exceptions import InvalidStateError

from agent.errors import VideoError
from agent.sources.slot import Slot
from agent.video import hooks, whip
from agent.video.camera import CameraTrack, Gate
from agent.video.encoder import Codec
from agent.video.steps import Steps
from agent.video.veil import Points

CONNECT_WITHIN_S = 15.0
LEVEL_EVERY_S = 2.0
POSES_WAITING_BYTES = 65_536
FIRST_BPS = 1_000_000
MEASURED_S = 1.5
SILENT_S = 7.0
"""The relay sends something every two seconds; after this long without, it is considered gone."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how to publish. `url`: the relay's WHIP endpoint for this kit; `token` is called each time."""

    url: str
    token: Callable[[], str | None]
    tls: ssl.SSLContext | None = None
    codec: Codec = "H264"
    most_bps: int = 1_600_000
    fps: float = 30.0
    servers: Sequence[RTCIceServer] = ()


class VideoPublisher:
    """`run` publishes until the connection ends; `pose` sends what was found in a frame alongside the pictures."""

    def __init__(self, slot: Slot, gate: Gate, target: Target) -> None:
        self.connected = False
        self.connections = self.poses_dropped = 0
        self._slot, self._gate, self._target = slot, gate, target
        self._newest: tuple[Points, int] | None = None
        self._track: CameraTrack | None = None
        self._channel: RTCDataChannel | None = None
        self._heard_s = 0.0
        self._attempts = 0

    def figures(self) -> dict[str, Any]:
        """Figures for the kit's status."""
        track = self._track
        return {
            "connected": self.connected,
            "connections": self.connections,
            "level": self._gate.level.word,
            "frames": track.frames if track else 0,
            "withheld": track.withheld if track else 0,
            "posesDropped": self.poses_dropped,
        }

    def pose(self, captured_ns: int, body: dict[str, Any], landmarks: Points | None = None) -> None:
        """Send what was found in the frame captured then.

        `landmarks` float32[33, >=3] keep the body visible when blurring; None means that everything is blurred from now
        on.
        """
        self._newest = (landmarks, captured_ns) if landmarks is not None else None
        track = self._track
        self._tell({**body, "rtp": track.timestamp_of(captured_ns) if track is not None else None})

    async def run(self) -> None:
        """One connection from offer to end. VideoError when it cannot be made or breaks."""
        target = self._target
        steps = Steps(target.most_bps, FIRST_BPS)
        peer = RTCPeerConnection(RTCConfiguration(iceServers=self._servers()))
        track = CameraTrack(self._slot, self._gate, target.codec, steps, target.fps, lambda: self._newest)
        ended = asyncio.Event()
        resource = None
        try:
            sender = peer.addTrack(track)
            track.last_sent = lambda: hooks.last_timestamp(sender)
            self._prefer(peer)
            loop = asyncio.get_running_loop()
            rate = Sent(track, loop.time())
            hooks.listen(sender, keyframe=track.want_keyframe, estimate=lambda bps: rate.step(steps, bps, loop.time()))
            channel = peer.createDataChannel("pose", ordered=False, maxRetransmits=0)
            channel.on("message", lambda _: self._heard(loop.time()))
            peer.on("connectionstatechange", lambda: self._state(peer, ended))
            resource = await self._exchange(peer)
            self._track, self._channel = track, channel
            await self._stay(peer, ended)
        finally:
            self.connected, self._channel = False, None
            track.stop()
            await asyncio.shield(self._leave(peer, resource))

    def _servers(self) -> list[RTCIceServer]:
        """aiortc uses a single TURN server: each attempt takes the next one of those configured."""
        known = self._target.servers
        turn = [server for server in known if str(server.urls).startswith("turn")]
        chosen = turn[self._attempts % len(turn)] if turn else None
        self._attempts += 1
        return [server for server in known if server not in turn or server is chosen]

    async def _exchange(self, peer: RTCPeerConnection) -> str:
        target = self._target
        await peer.setLocalDescription(await peer.createOffer())
        sdp = peer.localDescription.sdp
        answer = await asyncio.to_thread(whip.publish, target.url, sdp, target.token(), target.tls)
        try:
            await peer.setRemoteDescription(Description(answer.sdp, "answer"))
        except (ValueError, KeyError, IndexError, InvalidStateError) as error:
            raise VideoError(f"the relay's answer cannot be followed: {error}") from None
        return answer.resource

    async def _stay(self, peer: RTCPeerConnection, ended: asyncio.Event) -> None:
        """Send the level regularly, until the connection ends."""
        began = asyncio.get_running_loop().time()
        while not ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), LEVEL_EVERY_S if self.connected else 0.1)
            if self.connected:
                self._tell({})
                if asyncio.get_running_loop().time() - self._heard_s > SILENT_S:
                    raise VideoError("the relay has fallen silent")
            elif asyncio.get_running_loop().time() - began > CONNECT_WITHIN_S:
                raise VideoError("no way to the relay for pictures: UDP may be blocked (homeside net-test tells)")
        raise VideoError("the connection for pictures ended")

    async def _leave(self, peer: RTCPeerConnection, resource: str | None) -> None:
        if resource is not None:
            with suppress(VideoError):
                await asyncio.to_thread(whip.delete, resource, self._target.token(), self._target.tls)
        await peer.close()

    def _state(self, peer: RTCPeerConnection, ended: asyncio.Event) -> None:
        if peer.connectionState == "connected":
            self.connected = True
            self.connections += 1
            self._heard(asyncio.get_running_loop().time())
            log.info("video_connected", url=self._target.url)
        elif peer.connectionState in ("failed", "closed"):
            ended.set()

    def _heard(self, now_s: float) -> None:
        self._heard_s = now_s

    def _prefer(self, peer: RTCPeerConnection) -> None:
        """Offer a single codec, so that every viewer receives exactly what is encoded."""
        known = RTCRtpSender.getCapabilities("video").codecs
        wanted = (f"video/{self._target.codec}", "video/rtx")
        transceiver = peer.getTransceivers()[0]
        transceiver.direction = "sendonly"
        transceiver.setCodecPreferences([one for one in known if one.mimeType in wanted])

    def _tell(self, body: dict[str, Any]) -> None:
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return
        if channel.bufferedAmount > POSES_WAITING_BYTES:
            self.poses_dropped += 1
            return
        channel.send(json.dumps({**body, "level": self._gate.level.word}, separators=(",", ":")))


class Sent:
    """Measures the bit rate sent recently, against which bandwidth estimates are judged."""

    def __init__(self, track: CameraTrack, now_s: float) -> None:
        self._track = track
        self._from_s, self._from_bytes = now_s, 0
        self._bps = 0.0

    def step(self, steps: Steps, estimate_bps: int, now_s: float) -> None:
        passed = now_s - self._from_s
        if passed >= MEASURED_S:
            self._bps = (self._track.bytes - self._from_bytes) * 8 / passed
            self._from_s, self._from_bytes = now_s, self._track.bytes
        if steps.estimated(estimate_bps, now_s, self._bps):
            log.info("video_rate", rate_bps=steps.rate_bps, estimate_bps=estimate_bps, sent_bps=round(self._bps))
