"""Peer connections with viewers and publishers: offer in, answer out, in one round trip and within a bounded time.

The answer carries this host's candidates, so nobody waits for a STUN server that does not answer. A peer that could not
be set up leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.rtp import RtpPacket

from relay.errors import BadOffer
from relay.process.metrics import Metrics
from relay.video import rules
from relay.video.hooks import Inlet, SilentTrack, dismantle, gather_within, spare_estimator
from relay.video.legs import FrameLeg, RawLeg, frame_track
from relay.video.publication import Publication

ANSWER_WITHIN_S = 5.0
DISMANTLED_AFTER_S = 3.0
POSE_CHANNEL = "pose"
POSE_BYTES = 65_536
POSE_WAITING_BYTES = 65_536
CODECS = ("H264", "VP8")
UNREADABLE = (
    *(ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError),
    *(InvalidAccessError, InvalidStateError, OperationError),
)
"""What aiortc raises for SDP it cannot process; it has no error class of its own for this."""


@dataclass(frozen=True, slots=True)
class Network:
    """How ICE candidates are found. `servers`: (url, user name, password) of STUN and TURN servers."""

    servers: Sequence[tuple[str, str, str]] = ()
    gather_s: float = 0.25

    def peer(self) -> RTCPeerConnection:
        servers = [
            RTCIceServer(urls=url, username=user or None, credential=word or None) for url, user, word in self.servers
        ]
        return RTCPeerConnection(RTCConfiguration(iceServers=servers))


@dataclass(eq=False)
class Viewer:
    """A peer that watches."""

    peer: RTCPeerConnection
    publication: Publication
    leg: RawLeg | FrameLeg
    channels: list[RTCDataChannel] = field(default_factory=list)
    poses_dropped: int = 0
    ended: bool = False

    def posed(self, timestamp: int | None, pose: dict[str, Any]) -> None:
        """Send the pose with the RTP timestamp this viewer's frame will have (null if none); dropped and counted if too
        many bytes still wait.
        """
        if not self.channels:
            return
        shown = None if timestamp is None else (timestamp + self.leg.time_offset) & 0xFFFFFFFF
        data = msgspec.json.encode({**pose, "rtp": shown}).decode()
        for channel in self.channels:
            if channel.readyState != "open":
                continue
            if channel.bufferedAmount > POSE_WAITING_BYTES:
                self.poses_dropped += 1
            else:
                channel.send(data)

    async def end(self) -> None:
        """Close the peer; further calls do nothing."""
        if self.ended:
            return
        self.ended = True
        self.publication.pose.pop(self.posed, None)
        self.leg.leave()
        self.channels.clear()
        await _closed(self.peer)


@dataclass(eq=False)
class PublisherPeer:
    """A peer that sends video; its packets go to the publication as they arrive."""

    peer: RTCPeerConnection
    publication: Publication
    inlet: Inlet | None = None
    channels: list[RTCDataChannel] = field(default_factory=list)
    ssrc: int = 0
    heard_s: float = 0.0
    ended: bool = False

    def take(self, packet: RtpPacket) -> None:
        self.ssrc = packet.ssrc
        self.heard_s = asyncio.get_running_loop().time()
        self.publication.forward(packet.sequence_number, packet.timestamp, packet.marker, packet.payload)

    async def keyframe(self) -> None:
        if self.inlet is not None and self.ssrc:
            await self.inlet.request_keyframe(self.ssrc)

    def pose(self, message: str | bytes) -> None:
        """Take one message of the kit's data channel: JSON with the RTP timestamp `rtp` and the privacy level in
        force.
        """
        if len(message) > POSE_BYTES:
            return
        try:
            body = msgspec.json.decode(message)
            self.publication.level = body["level"] = str(body.get("level", self.publication.level))[:16]
            timestamp = body.pop("rtp", None)
        except (msgspec.DecodeError, AttributeError, TypeError):
            return
        self.heard_s = asyncio.get_running_loop().time()
        self.publication.posed(timestamp if isinstance(timestamp, int) else None, body)

    def greet(self) -> None:
        """Send a sign of life, so that a kit notices soon when this relay is gone."""
        for channel in self.channels:
            if channel.readyState == "open" and channel.bufferedAmount == 0:
                channel.send("{}")

    def open(self, channel: RTCDataChannel) -> None:
        self.channels.append(channel)
        channel.on("message", self.pose)

    async def end(self) -> None:
        """Close the peer; further calls do nothing."""
        if self.ended:
            return
        self.ended = True
        self.publication.detach(self)
        self.channels.clear()
        await _closed(self.peer)


async def answer_viewer(
    sdp: str, publication: Publication, network: Network, metrics: Metrics, *, raw: bool
) -> tuple[Viewer, str]:
    """A connection that shows `publication`, and its SDP answer. Raises BadOffer if the offer cannot be answered."""
    offer = rules.checked_offer(sdp)
    viewer = viewer_of(publication, network, metrics, raw=raw)
    publication.pose[viewer.posed] = None
    viewer.peer.on("datachannel", viewer.channels.append)
    try:
        answer = await _answer(viewer.peer, offer, network, only=viewer.peer.getTransceivers()[0])
    except BaseException:
        await viewer.end()
        raise
    return viewer, answer


def viewer_of(publication: Publication, network: Network, metrics: Metrics, *, raw: bool) -> Viewer:
    """A peer that will send this publication and nothing else once negotiated; the caller must end it."""
    peer = network.peer()
    track = None if raw else frame_track(publication, metrics)
    sender = peer.addTrack(track or SilentTrack())
    transceiver = peer.getTransceivers()[0]
    transceiver.direction = "sendonly"
    spare_estimator(transceiver.receiver)
    transceiver.setCodecPreferences(capabilities([publication.codec]))
    return Viewer(peer, publication, FrameLeg(publication, track) if track else RawLeg(publication, sender, metrics))


async def answer_publisher(
    sdp: str, publish: Callable[[str], Publication], network: Network
) -> tuple[PublisherPeer, str]:
    """A connection that receives video, and its SDP answer. `publish` is called with the negotiated codec and returns
    the publication to fill.
    """
    offer = rules.checked_offer(sdp)
    peer = network.peer()
    try:
        transceiver = peer.addTransceiver("video", direction="recvonly")
        transceiver.setCodecPreferences(capabilities(CODECS))
        channels: list[RTCDataChannel] = []
        peer.on("datachannel", channels.append)
        answer = await _answer(peer, offer, network, only=transceiver)
        publisher = PublisherPeer(peer, publish(_agreed(answer)))
        publisher.inlet = Inlet(transceiver.receiver, publisher.take, publisher.publication.most_bps)
        peer.on("datachannel", publisher.open)
        for channel in channels:
            publisher.open(channel)
    except BaseException:
        await _closed(peer)
        raise
    return publisher, answer


async def _closed(peer: RTCPeerConnection) -> None:
    """Close the peer, and break it up a little later, once aiortc's own connecting task has noticed the end."""
    await peer.close()
    asyncio.get_running_loop().call_later(DISMANTLED_AFTER_S, dismantle, peer)


async def _answer(peer: RTCPeerConnection, offer: str, network: Network, *, only: RTCRtpTransceiver) -> str:
    with _refusing():
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await peer.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
            for transceiver in peer.getTransceivers():
                if transceiver is not only:
                    transceiver.direction = "inactive"
            gather_within(peer, network.gather_s)
            await peer.setLocalDescription(await peer.createAnswer())
    return str(peer.localDescription.sdp)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except OperationError:
        raise BadOffer("The offer and the camera have no video codec in common; both need H264, or both VP8") from None
    except UNREADABLE as error:
        raise BadOffer(f"The SDP offer cannot be answered: {str(error)[:120] or type(error).__name__}") from None
    except TimeoutError:
        raise BadOffer("The SDP offer could not be answered in time") from None


def capabilities(names: Sequence[str]) -> list[Any]:
    """aiortc's codec capabilities of these names, in this order, with retransmission."""
    wanted = [f"video/{name}" for name in names]
    known = RTCRtpSender.getCapabilities("video").codecs
    media = [one for name in wanted for one in known if one.mimeType == name]
    return [*media, *(one for one in known if one.mimeType == "video/rtx")]


def _agreed(answer: str) -> str:
    """The codec listed first in the answer's video section."""
    section = answer.partition("m=video ")[2]
    first = section.split("\r\n", 1)[0].split(" ")[2]
    for line in section.split("\r\n"):
        if line.startswith(f"a=rtpmap:{first} "):
            return line.split(" ")[1].split("/")[0]
    raise BadOffer("The offer names no video codec")
