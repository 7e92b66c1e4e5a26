# ruff: noqa: SLF001  this is the one module that touches private parts
"""Every private part of aiortc and aioice that the relay leans on, here and nowhere else; each has a test of its own.

aiortc decodes what it receives and encodes what it sends, per peer. A relay wants neither, so: an Inlet takes packets
where a receiver would reassemble frames (after its loss repair, reports and bandwidth estimate), and an Outlet hands
protected packets to a viewer's socket while aiortc does ICE, DTLS, SRTP keys and the reports' timing. Pinned: ~=1.16.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, VideoStreamTrack
from aiortc.rtcrtpparameters import RTCRtpSendParameters
from aiortc.rtp import RtcpSrPacket, RtpPacket

Take = Callable[[RtpPacket], None]
DROP_BEYOND_BYTES = 262_144
"""Waiting in a socket's own buffer: a viewer that far behind is skipped until the next keyframe."""


class _InPlaceOfJitterBuffer:
    """What a receiver calls once for each packet of media, retransmitted ones unwrapped."""

    def __init__(self, take: Take) -> None:
        self._take = take

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        self._take(packet)
        return False, None


class _BoundedEstimate:
    """The receiver's own estimate of the uplink, bounded by what the viewers can take."""

    def __init__(self, inner: Any, most_bps: Callable[[], float | None]) -> None:
        self._inner, self._most_bps = inner, most_bps

    def add(self, **arrival: Any) -> tuple[int, list[int]] | None:
        found = self._inner.add(**arrival)
        most = self._most_bps()
        return found if found is None or most is None else (min(found[0], int(most)), found[1])


class Inlet:
    """A publisher's receiver, tapped: `take` gets its packets, nothing is decoded."""

    def __init__(self, receiver: RTCRtpReceiver, take: Take, most_bps: Callable[[], float | None]) -> None:
        self._receiver = cast("Any", receiver)
        self._receiver._RTCRtpReceiver__jitter_buffer = _InPlaceOfJitterBuffer(take)
        inner = self._receiver._RTCRtpReceiver__remote_bitrate_estimator
        self._receiver._RTCRtpReceiver__remote_bitrate_estimator = _BoundedEstimate(inner, most_bps)

    async def request_keyframe(self, ssrc: int) -> None:
        """A Picture Loss Indication (RFC 4585 section 6.3.1) to the publisher."""
        await self._receiver._send_rtcp_pli(ssrc)


class SilentTrack(VideoStreamTrack):
    """A track that never gives a frame: it keeps a sender alive whose packets come from elsewhere."""

    async def recv(self) -> Any:
        await asyncio.get_running_loop().create_future()


class Outlet:
    """A viewer's sender: `begun` hears its parameters once DTLS is up, `heard` every RTCP packet for it.

    `report` fills a sender report's figures when one is due: (ntp, rtp timestamp, packets, octets).
    """

    def __init__(
        self,
        sender: RTCRtpSender,
        *,
        begun: Callable[[RTCRtpSendParameters], None],
        heard: Callable[[Any], None],
        report: Callable[[], tuple[int, int, int, int]],
    ) -> None:
        self._sender = cast("Any", sender)
        self._begun, self._heard, self._report = begun, heard, report
        self._send_parameters, self._send_rtcp = sender.send, self._sender._send_rtcp
        self._pair: Any = None
        self._to: Any = None
        self._address: Any = None
        self._protect: Callable[[bytes], bytes] | None = None
        self._nominated: dict[int, Any] = {}
        self._sender.send = self._begin
        self._sender._handle_rtcp_packet = self._hear
        self._sender._send_rtcp = self._send_report

    @property
    def ssrc(self) -> int:
        return int(self._sender._ssrc)

    @property
    def repair_ssrc(self) -> int:
        return int(self._sender._rtx_ssrc)

    @property
    def waiting_bytes(self) -> int:
        """What the socket has not yet taken from us."""
        buffered = getattr(self._to, "get_write_buffer_size", None)
        return int(buffered()) if buffered is not None else 0

    def transmit(self, packet: bytes) -> bool:
        """Protect (RFC 3711) and send one RTP packet now; False when there is no way to the viewer."""
        pair = self._nominated.get(1)
        if pair is None or self._protect is None:
            return False
        if pair is not self._pair:
            self._pair, self._to, self._address = pair, pair.protocol.transport, pair.remote_addr
        if self._to.is_closing():
            return False
        self._to.sendto(self._protect(packet), self._address)
        return True

    async def _begin(self, parameters: RTCRtpSendParameters) -> None:
        dtls: Any = self._sender.transport
        self._protect = dtls._tx_srtp.protect
        self._nominated = dtls.transport._connection._nominated
        await self._send_parameters(parameters)
        self._begun(parameters)

    async def _hear(self, packet: Any) -> None:
        self._heard(packet)

    async def _send_report(self, packets: list[Any]) -> None:
        for packet in packets:
            if isinstance(packet, RtcpSrPacket):
                info = packet.sender_info
                info.ntp_timestamp, info.rtp_timestamp, info.packet_count, info.octet_count = self._report()
        await self._send_rtcp(packets)


def gather_within(peer: RTCPeerConnection, seconds: float) -> None:
    """Bound the wait for STUN and TURN servers while candidates are gathered; those of this host are there at once."""
    for transceiver in peer.getTransceivers():
        transport: Any = transceiver.receiver.transport
        connection = transport.transport.iceGatherer._connection
        connection.get_component_candidates = partial(_ask(connection), timeout=seconds)


def _ask(connection: Any) -> Callable[..., Any]:
    """The connection's own method, or what a first call of ours put it into."""
    found = connection.get_component_candidates
    return found.func if isinstance(found, partial) else found
