"""Connections this relay offers itself: to take a camera from another relay, or to pass one to a media server.

The offer carries this host's candidates and waits for no others; the caller decides how the answer is fetched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiortc import RTCPeerConnection, RTCSessionDescription

from relay.errors import BadOffer
from relay.process.metrics import Metrics
from relay.video.hooks import Inlet, gather_within
from relay.video.peers import (
    ANSWER_WITHIN_S,
    POSE_CHANNEL,
    UNREADABLE,
    Network,
    PublisherPeer,
    Viewer,
    capabilities,
    viewer_of,
)
from relay.video.publication import Publication

Ask = Callable[[str], Awaitable[str]]
"""Delivers an SDP offer to the other side and returns its answer."""


async def take_from(ask: Ask, publication: Callable[[], Publication], codec: str, network: Network) -> PublisherPeer:
    """A connection that receives a camera from another relay. Raises BadOffer if the answer cannot be used."""
    peer = network.peer()
    try:
        transceiver = peer.addTransceiver("video", direction="recvonly")
        transceiver.setCodecPreferences(capabilities([codec]))
        channel = peer.createDataChannel(POSE_CHANNEL, ordered=False, maxRetransmits=0)
        await _agree(peer, ask, network)
        publisher = PublisherPeer(peer, publication(), heard_s=asyncio.get_running_loop().time())
        publisher.inlet = Inlet(transceiver.receiver, publisher.take, publisher.publication.most_bps)
        publisher.open(channel)
    except BaseException:
        await peer.close()
        raise
    return publisher


async def hand_to(ask: Ask, publication: Publication, network: Network, metrics: Metrics, *, raw: bool) -> Viewer:
    """A connection that sends a publication to a media server. Raises BadOffer if the answer cannot be used."""
    viewer = viewer_of(publication, network, metrics, raw=raw)
    try:
        await _agree(viewer.peer, ask, network)
    except BaseException:
        await viewer.end()
        raise
    return viewer


async def _agree(peer: RTCPeerConnection, ask: Ask, network: Network) -> None:
    async with asyncio.timeout(ANSWER_WITHIN_S):
        gather_within(peer, network.gather_s)
        await peer.setLocalDescription(await peer.createOffer())
    answer = await ask(str(peer.localDescription.sdp))
    try:
        await peer.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    except UNREADABLE as error:
        raise BadOffer(f"The answer cannot be followed: {str(error)[:120] or type(error).__name__}") from None
