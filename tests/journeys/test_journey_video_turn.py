"""Where UDP does not pass: a viewer, and the relay itself, behind a TURN server, Debian's coturn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)

from relay.process.metrics import Metrics
from relay.video.gateway import MediaFolder
from relay.video.peers import Network
from relay.video.recorder import Recordings
from relay.video.service import VideoService
from tests.coturn import PASSWORD, USER, Coturn
from tests.programs import RelayProgram
from tests.watching import Watcher


@pytest.fixture(scope="module")
def coturn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    server = Coturn(tmp_path_factory.mktemp("coturn"))
    yield server
    server.end()


def through(server: Coturn, way: str) -> RTCConfiguration:
    """A peer that knows no other way."""
    turn = RTCIceServer(server.turn(way), USER, PASSWORD)
    return RTCConfiguration(iceServers=[turn], iceTransportPolicy=RTCIceTransportPolicy.RELAY)


async def test_a_viewer_sees_through_every_kind_of_turn(
    coturn: Coturn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(coturn.authority))
    relay = await asyncio.to_thread(RelayProgram, tmp_path)
    for way in ("udp", "tcp", "tls"):
        async with Watcher(relay.http, ice=through(coturn, way)) as seen:
            await seen.frames(30)
            assert set(seen.sizes) == {(640, 480)}
    assert await asyncio.to_thread(relay.stop) == 0
    assert not relay.faults()


class Walled(Network):
    """A relay whose own UDP goes nowhere."""

    def peer(self) -> RTCPeerConnection:
        ((url, user, password),) = self.servers
        turn = RTCIceServer(url, user, password)
        return RTCPeerConnection(RTCConfiguration([turn], iceTransportPolicy=RTCIceTransportPolicy.RELAY))


async def test_the_relay_sends_through_turn_as_well(coturn: Coturn, tmp_path: Path) -> None:
    """There is no socket of the viewer's own then, and no several packets in one call."""
    metrics = Metrics()
    network = Walled([(coturn.turn("udp"), USER, PASSWORD)], gather_s=5.0)
    service = VideoService(MediaFolder(tmp_path), network, metrics, Recordings(tmp_path))
    viewer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    viewer.addTransceiver("video", direction="recvonly")
    track: asyncio.Future[MediaStreamTrack] = asyncio.get_running_loop().create_future()
    viewer.on("track", track.set_result)
    try:
        await viewer.setLocalDescription(await viewer.createOffer())
        _, answer = await service.viewers.watch(viewer.localDescription.sdp, await service.sample(), "anna")
        assert " typ relay" in answer
        assert " typ host" not in answer
        await viewer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        async with asyncio.timeout(30):
            picture = await track
            for _ in range(30):
                await picture.recv()
    finally:
        await viewer.close()
        await service.drained()
