"""Who goes on watching when what they may watch has changed."""

from __future__ import annotations

from pathlib import Path

from aiortc import RTCConfiguration, RTCPeerConnection

from relay.process.metrics import Metrics
from relay.video.gateway import MediaFolder
from relay.video.peers import Network
from relay.video.publication import Publication
from relay.video.recorder import Recordings
from relay.video.service import VideoService


async def joined(service: VideoService, publication: Publication, subject: str, bound: str | None) -> str:
    viewer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    viewer.addTransceiver("video", direction="recvonly")
    try:
        await viewer.setLocalDescription(await viewer.createOffer())
        session, _ = await service.viewers.watch(viewer.localDescription.sdp, publication, subject, bound)
    finally:
        await viewer.close()
    return session


async def test_a_link_to_one_session_does_not_show_the_next_of_that_kit(tmp_path: Path) -> None:
    service = VideoService(MediaFolder(tmp_path), Network(), Metrics(), Recordings(tmp_path))
    publication = service.cameras.place("bedside-07", "H264", "of-anna")
    try:
        await joined(service, publication, "link", "of-anna")
        staff = await joined(service, publication, "smith", None)
        assert service.cameras.place("bedside-07", "H264", "of-anna") is publication
        assert len(service.viewers.sessions()) == 2
        service.cameras.place("bedside-07", "H264", "of-john")
        assert service.viewers.sessions() == [staff]
        service.viewers.session(staff).end(4401, "This sign-in has ended. Sign in again.")
        assert service.viewers.sessions() == []
    finally:
        await service.drained()
