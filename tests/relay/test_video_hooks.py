"""aiortc's private parts, each held to what the relay and the kit lean on: these fail when aiortc changes."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from collections.abc import AsyncIterator
from typing import Any

import aioice.ice
import aiortc
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender
from aiortc.rtcrtpreceiver import NackGenerator
from aiortc.rtp import RTCP_PSFB_APP, RTCP_PSFB_PLI, RtcpPsfbPacket, RtpPacket, pack_remb_fci

from agent.video import hooks as kit_hooks
from relay.process.metrics import Metrics
from relay.video import hooks, sample
from relay.video.gateway import FilePublisher, MediaFolder
from relay.video.legs import RawLeg
from relay.video.publication import Publication


async def connect(one: RTCPeerConnection, other: RTCPeerConnection) -> None:
    await one.setLocalDescription(await one.createOffer())
    await other.setRemoteDescription(one.localDescription)
    await other.setLocalDescription(await other.createAnswer())
    await one.setRemoteDescription(other.localDescription)
    async with asyncio.timeout(30):
        while one.connectionState != "connected" or other.connectionState != "connected":
            await asyncio.sleep(0.02)


@pytest.fixture
async def pair() -> AsyncIterator[tuple[RTCPeerConnection, RTCPeerConnection]]:
    peers = tuple(RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    yield peers  # type: ignore[misc]
    for peer in peers:
        await peer.close()


def test_the_version_is_the_one_the_hooks_were_written_for() -> None:
    assert aiortc.__version__.startswith("1.16.")


async def test_a_receiver_has_what_an_inlet_replaces(pair: tuple[RTCPeerConnection, RTCPeerConnection]) -> None:
    receiver = pair[0].addTransceiver("video", direction="recvonly").receiver
    inside: Any = receiver
    assert list(inspect.signature(inside._RTCRtpReceiver__jitter_buffer.add).parameters) == ["packet"]
    estimator = inspect.signature(inside._RTCRtpReceiver__remote_bitrate_estimator.add).parameters
    assert list(estimator) == ["arrival_time_ms", "abs_send_time", "payload_size", "ssrc"] or set(estimator) == {
        "arrival_time_ms",
        "abs_send_time",
        "payload_size",
        "ssrc",
    }
    assert inspect.iscoroutinefunction(RTCRtpReceiver._send_rtcp_pli)
    assert "self.__jitter_buffer.add(packet)" in inspect.getsource(RTCRtpReceiver._handle_rtp_packet)
    assert NackGenerator().add(RtpPacket(sequence_number=1)) is False


async def test_a_sender_has_what_an_outlet_replaces(pair: tuple[RTCPeerConnection, RTCPeerConnection]) -> None:
    sender: Any = pair[0].addTrack(hooks.SilentTrack())
    assert isinstance(sender._ssrc, int)
    assert isinstance(sender._rtx_ssrc, int)
    for name, words in (("send", ["parameters"]), ("_handle_rtcp_packet", ["packet"]), ("_send_rtcp", ["packets"])):
        assert list(inspect.signature(getattr(sender, name)).parameters) == words
        assert inspect.iscoroutinefunction(getattr(RTCRtpSender, name))
    source = inspect.getsource(RTCRtpSender._run_rtcp)
    assert "self._send_rtcp(packets)" in source
    assert "RtcpSrPacket" in source


async def test_gathering_is_bounded_where_aioice_waits(pair: tuple[RTCPeerConnection, RTCPeerConnection]) -> None:
    wait = inspect.signature(aioice.ice.Connection.get_component_candidates).parameters["timeout"]
    assert wait.default == 5
    stun = RTCPeerConnection(RTCConfiguration(iceServers=[aiortc.RTCIceServer("stun:192.0.2.77:3478")]))
    stun.addTransceiver("video", direction="recvonly")
    hooks.gather_within(stun, 0.05)
    hooks.gather_within(stun, 0.05)
    began = asyncio.get_running_loop().time()
    await stun.setLocalDescription(await stun.createOffer())
    assert asyncio.get_running_loop().time() - began < 4.0
    assert "a=candidate:" in stun.localDescription.sdp
    await stun.close()


async def test_one_packet_goes_in_and_comes_out(
    pair: tuple[RTCPeerConnection, RTCPeerConnection], tmp_path: Any
) -> None:
    """A file through a publication and a leg to a stock aiortc viewer; its reports and requests come back."""
    ours, theirs = pair
    metrics = Metrics()
    folder = MediaFolder(tmp_path)
    await folder.prepare()
    publication = Publication("file:sample", "H264", metrics)
    publisher = FilePublisher(folder.sample, publication)
    publication.attach(publisher)
    frames: asyncio.Queue[Any] = asyncio.Queue()

    async def read(track: Any) -> None:
        for _ in range(20):
            frames.put_nowait(await track.recv())

    reading: list[asyncio.Task[None]] = []
    ours.on("track", lambda track: reading.append(asyncio.ensure_future(read(track))))
    transceiver = ours.addTransceiver("video", direction="recvonly")
    known = transceiver.receiver.getCapabilities("video").codecs
    transceiver.setCodecPreferences([one for one in known if one.mimeType in ("video/H264", "video/rtx")])
    sender = theirs.addTrack(hooks.SilentTrack())
    theirs.getTransceivers()[0].direction = "sendonly"
    leg = RawLeg(publication, sender, metrics)
    await connect(ours, theirs)
    playing = asyncio.create_task(publisher.play())
    first = await asyncio.wait_for(frames.get(), 30)
    assert (first.width, first.height) == (sample.WIDTH, sample.HEIGHT)
    assert leg.playing
    async with asyncio.timeout(30):
        while leg.loss != 0.0 or leg.heard_s == 0.0:
            await asyncio.sleep(0.05)
    lost = leg._last_seq
    before = leg.repaired
    await ours.getReceivers()[0]._send_rtcp_nack(leg._ssrc, [lost])
    async with asyncio.timeout(30):
        while leg.repaired == before:
            await asyncio.sleep(0.02)
    stats = await ours.getReceivers()[0].getStats()
    async with asyncio.timeout(30):
        while not any(one.type == "remote-outbound-rtp" and one.packetsSent > 0 for one in stats.values()):
            await asyncio.sleep(0.1)
            stats = await ours.getReceivers()[0].getStats()
    playing.cancel()
    leg.leave()
    await asyncio.gather(playing, return_exceptions=True)
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)


async def test_the_kit_hears_its_viewers(pair: tuple[RTCPeerConnection, RTCPeerConnection]) -> None:
    sender: Any = pair[0].addTrack(hooks.SilentTrack())
    heard: list[object] = []
    kit_hooks.listen(sender, keyframe=lambda: heard.append("key"), estimate=heard.append)
    await sender._handle_rtcp_packet(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=sender._ssrc))
    estimate = RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=pack_remb_fci(600_000, [sender._ssrc]))
    await sender._handle_rtcp_packet(estimate)
    assert heard == ["key", pytest.approx(600_000, rel=0.01)]
    assert kit_hooks.last_timestamp(sender) is None
    assert "__rtp_timestamp = packet.timestamp" in inspect.getsource(RTCRtpSender._run_rtp)


@pytest.mark.parametrize(
    ("lengths", "calls"),
    [
        ([1200, 1200, 1200, 300], [4]),
        ([1201, 1201, 1200, 1200], [3, 1]),
        ([40, 1200, 1200], [1, 2]),
        ([1200, 1300], [1, 1]),
        ([7], [1]),
    ],
)
def test_packets_of_one_length_go_in_one_call(lengths: list[int], calls: list[int]) -> None:
    found, first, at = [], 0, 0
    while first < len(lengths):
        last, end = hooks._run(lengths, first, at)
        assert end - at == sum(lengths[first:last])
        found.append(last - first)
        first, at = last, end
    assert found == calls


async def test_many_packets_leave_as_datagrams_of_their_own(
    pair: tuple[RTCPeerConnection, RTCPeerConnection],
) -> None:
    """Whatever is sent in one call arrives as it is: every length, in order, readable with the viewer's key."""
    ours, theirs = pair
    ours.addTransceiver("video", direction="recvonly")
    begun = asyncio.Event()
    sender = theirs.addTrack(hooks.SilentTrack())
    theirs.getTransceivers()[0].direction = "sendonly"
    outlet = hooks.Outlet(sender, begun=lambda _: begun.set(), heard=lambda _: None, report=lambda: (0, 0, 0, 0))
    arrived: list[bytes] = []
    await connect(ours, theirs)
    await begun.wait()
    inside: Any = ours.getTransceivers()[0].receiver.transport

    async def handle(data: bytes, arrival_time_ms: int) -> None:
        arrived.append(data)

    inside._handle_rtp_data = handle
    lengths = [60, 1200, 1200, 1200, 700, 1100, 1100, 40, 3000, 40]
    sent = [
        RtpPacket(sequence_number=number, ssrc=outlet.ssrc, payload_type=96, payload=bytes(length)).serialize()
        for number, length in enumerate(lengths)
    ]
    assert outlet.transmit(sent)
    sent = [packet for packet in sent if len(packet) < 1500]
    async with asyncio.timeout(30):
        while len(arrived) < len(sent):
            await asyncio.sleep(0.02)
    assert arrived == sent
    outlet.close()
    assert not outlet.transmit(sent)


async def test_a_peer_taken_apart_needs_no_collector(pair: tuple[RTCPeerConnection, RTCPeerConnection]) -> None:
    """Its parts hold each other in circles; without them nothing is left once the last reference goes."""
    ours = pair[0]
    theirs = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    ours.addTransceiver("video", direction="recvonly")
    ours.createDataChannel("pose")
    theirs.addTrack(hooks.SilentTrack())
    hooks.spare_estimator(theirs.getTransceivers()[0].receiver)
    await connect(ours, theirs)
    transceiver = theirs.getTransceivers()[0]
    inside: Any = transceiver.receiver.transport
    parts = [weakref.ref(one) for one in (theirs, transceiver.sender, transceiver.receiver, inside, theirs.sctp)]
    del transceiver, inside
    gc.disable()
    try:
        await theirs.close()
        await asyncio.sleep(0.5)
        hooks.dismantle(theirs)
        del theirs
        async with asyncio.timeout(30):
            while any(part() is not None for part in parts):
                await asyncio.sleep(0.1)
    finally:
        gc.enable()
