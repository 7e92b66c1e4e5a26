# ruff: noqa: SLF001  this is the one module that touches private parts
"""Every private part of aiortc and aioice that the relay depends on, only here; each has a test of its own.

aiortc decodes what it receives and encodes what it sends, for each peer. A relay needs neither. An Inlet takes packets
where a receiver would reassemble frames (after its loss repair, reports and bandwidth estimate). An Outlet passes
protected packets to a viewer's socket, while aiortc does ICE, DTLS, SRTP keys and the timing of reports. aiortc is
pinned to ~=1.16.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import pylibsrtp
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, VideoStreamTrack
from aiortc.rtcrtpparameters import RTCRtpSendParameters
from aiortc.rtp import RtcpSrPacket, RtpPacket

Take = Callable[[RtpPacket], None]
DROP_BEYOND_BYTES = 262_144
"""Bytes waiting in a socket's buffer beyond which a viewer gets nothing more until the next keyframe."""
MOST_AT_ONCE = 32
"""Packets passed to one viewer's socket in one call, so that a segmented send stays within 64 KiB."""
MOST_PACKET = 1500
"""Longest packet in bytes: no publisher can have sent a longer one over Ethernet, and it could not be forwarded."""
UDP_SEGMENT = 103
"""Linux's UDP_SEGMENT socket option (linux/udp.h): one call sends one buffer as several datagrams of this length."""
_SRTP: Any = pylibsrtp
_SCRATCH = bytearray(65_536)
"""Scratch buffer in which packets are encrypted and from which they are sent, within one call on one thread."""
_VIEW, _START, _LENGTH = memoryview(_SCRATCH), _SRTP.ffi.from_buffer("char[]", _SCRATCH), _SRTP.ffi.new("int *")


class _InPlaceOfJitterBuffer:
    """Stands in for aiortc's jitter buffer: called once for each media packet, with retransmitted ones already
    unwrapped.
    """

    def __init__(self, take: Take) -> None:
        self._take = take

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        self._take(packet)
        return False, None


class _BoundedEstimate:
    """The receiver's own estimate of the uplink, limited to what the viewers can take."""

    def __init__(self, inner: Any, most_bps: Callable[[], float | None]) -> None:
        self._inner, self._most_bps = inner, most_bps

    def add(self, **arrival: Any) -> tuple[int, list[int]] | None:
        found = self._inner.add(**arrival)
        most = self._most_bps()
        return found if found is None or most is None else (min(found[0], int(most)), found[1])


class Inlet:
    """Taps a publisher's receiver: `take` gets its packets and nothing is decoded."""

    def __init__(self, receiver: RTCRtpReceiver, take: Take, most_bps: Callable[[], float | None]) -> None:
        self._receiver = cast("Any", receiver)
        self._receiver._RTCRtpReceiver__jitter_buffer = _InPlaceOfJitterBuffer(take)
        inner = self._receiver._RTCRtpReceiver__remote_bitrate_estimator
        self._receiver._RTCRtpReceiver__remote_bitrate_estimator = _BoundedEstimate(inner, most_bps)

    async def request_keyframe(self, ssrc: int) -> None:
        """Send a Picture Loss Indication (RFC 4585 section 6.3.1) to the publisher."""
        await self._receiver._send_rtcp_pli(ssrc)


class SilentTrack(VideoStreamTrack):
    """A track that never yields a frame: it keeps alive a sender whose packets come from elsewhere."""

    async def recv(self) -> Any:
        await asyncio.get_running_loop().create_future()


class Outlet:
    """A viewer's sender. `begun` gets its parameters once DTLS is up; `heard` gets every RTCP packet addressed to it.

    `report` fills in a sender report when one is due: (ntp, rtp timestamp, packets, octets).
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
        self._socket: socket.socket | None = None
        self._srtp: Any = None
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
        """Bytes passed to the socket that it has not sent yet."""
        buffered = getattr(self._to, "get_write_buffer_size", None)
        return int(buffered()) if buffered is not None else 0

    def transmit(self, packets: Sequence[bytes]) -> bool:
        """Encrypt (SRTP, RFC 3711) and send up to MOST_AT_ONCE RTP packets now; False if there is no path to the
        viewer.
        """
        pair = self._nominated.get(1)
        if pair is None or self._srtp is None:
            return False
        if pair is not self._pair:
            self._use(pair)
        closing = getattr(self._to, "is_closing", None)
        if closing is not None and closing():
            return False
        sealed = self._sealed(packets)
        if self._socket is None or self.waiting_bytes:
            self._queue(sealed)
        else:
            self._send(self._socket, sealed)
        return True

    def close(self) -> None:
        """Stop sending and receiving, and drop the references to the peer."""
        self._srtp = self._pair = self._to = None
        self._nominated = {}
        self._begun = self._heard = lambda _: None
        self._report = lambda: (0, 0, 0, 0)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _use(self, pair: Any) -> None:
        """Switch to another path: a socket of ours, where several packets go in one call, or a TURN server's."""
        if self._socket is not None:
            self._socket.close()
        self._pair, self._to, self._address = pair, pair.protocol.transport, pair.remote_addr
        self._socket = _second_hand(self._to)

    def _sealed(self, packets: Sequence[bytes]) -> list[int]:
        """Encrypt the packets one after the other into _SCRATCH; returns their lengths."""
        protect, session = _SRTP.lib.srtp_protect, self._srtp._srtp[0]
        lengths, at = [], 0
        for packet in packets:
            size = len(packet)
            if size > MOST_PACKET:
                continue
            _SCRATCH[at : at + size] = packet
            _LENGTH[0] = size
            if protect(session, _START + at, _LENGTH):
                break
            lengths.append(_LENGTH[0])
            at += _LENGTH[0]
        return lengths

    def _send(self, to: socket.socket, lengths: list[int]) -> None:
        at, count = 0, len(lengths)
        first = 0
        while first < count:
            last, end = _run(lengths, first, at)
            try:
                to.sendmsg([_VIEW[at:end]], _segments(lengths[first], last - first), 0, self._address)
            except OSError:
                self._queue(lengths[first:], at)
                return
            first, at = last, end

    def _queue(self, lengths: list[int], at: int = 0) -> None:
        """Send one by one through asyncio's transport, which keeps what the socket does not take now."""
        for length in lengths:
            self._to.sendto(bytes(_VIEW[at : at + length]), self._address)
            at += length

    async def _begin(self, parameters: RTCRtpSendParameters) -> None:
        dtls: Any = self._sender.transport
        self._srtp = dtls._tx_srtp
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


def _second_hand(transport: Any) -> socket.socket | None:
    """The transport's socket through a second descriptor; None if it is no UDP socket or cannot send in segments."""
    info = getattr(transport, "get_extra_info", None)
    theirs = info("socket") if info is not None else None
    if theirs is None:
        return None
    ours = socket.socket(fileno=os.dup(theirs.fileno()))
    ours.setblocking(False)
    try:
        ours.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
    except OSError:
        ours.close()
        return None
    return ours


def _run(lengths: Sequence[int], first: int, at: int) -> tuple[int, int]:
    """The run of packets from `first` that may go in one call: all of one length, except that the last may be
    shorter.
    """
    length = lengths[first]
    last, end = first + 1, at + length
    while last < len(lengths) and lengths[last] <= length:
        end += lengths[last]
        last += 1
        if lengths[last - 1] < length:
            break
    return last, end


def _segments(length: int, count: int) -> list[tuple[int, int, bytes]]:
    return [(socket.IPPROTO_UDP, UDP_SEGMENT, length.to_bytes(2, sys.byteorder))] if count > 1 else []


def dismantle(peer: RTCPeerConnection) -> None:
    """Break up a closed peer: its parts refer to each other in cycles, and the relay runs the cycle collector
    seldom.
    """
    parts: list[Any] = [peer, peer.sctp]
    for transceiver in peer.getTransceivers():
        dtls: Any = transceiver.receiver.transport
        gatherer = dtls.transport.iceGatherer
        parts += [transceiver.sender, transceiver.receiver, dtls, dtls.transport, gatherer, gatherer._connection]
    for part in parts:
        if part is not None:
            vars(part).clear()


def spare_estimator(receiver: RTCRtpReceiver) -> None:
    """Remove the bandwidth estimator of a receiver that never receives; it would cost a thousand objects per viewer."""
    cast("Any", receiver)._RTCRtpReceiver__remote_bitrate_estimator = None


def gather_within(peer: RTCPeerConnection, seconds: float) -> None:
    """Limit the wait for STUN and TURN servers while candidates are gathered; this host's own are available at once."""
    for transceiver in peer.getTransceivers():
        transport: Any = transceiver.receiver.transport
        connection = transport.transport.iceGatherer._connection
        connection.get_component_candidates = partial(_ask(connection), timeout=seconds)


def _ask(connection: Any) -> Callable[..., Any]:
    """The connection's original method, even if it was already wrapped by an earlier call."""
    found = connection.get_component_candidates
    return found.func if isinstance(found, partial) else found
