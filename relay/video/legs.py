"""A viewer's end of a publication: two implementations of one interface.

RawLeg forwards the publisher's own RTP packets: payload type, sequence number, timestamp and SSRC are rewritten, each
packet is encrypted and sent once per viewer, and losses are repaired from the publication's history. FrameLeg passes
whole encoded frames to aiortc, which packetises them: it uses nothing private, but costs one frame of delay and twice
the work.
"""

from __future__ import annotations

import asyncio
import fractions
import random
import struct
from collections import deque
from collections.abc import Sequence
from typing import Any

import av
from aiortc import MediaStreamTrack, RTCRtpSender
from aiortc.clock import current_ntp_time
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpSendParameters
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    unpack_remb_fci,
)

from relay.process.metrics import Metrics
from relay.video import rules
from relay.video.assembly import Frame
from relay.video.hooks import DROP_BEYOND_BYTES, Outlet
from relay.video.publication import Packet, Publication

ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
FRAMES_WAITING = 30
"""Frames (one second) a FrameLeg may be behind before it skips to the next keyframe."""
_HEADER = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HHBBBB")
_TIME_BASE = fractions.Fraction(1, 90_000)


class RawLeg:
    """Joins its publication when the viewer's DTLS is up, and leaves it with `leave`."""

    def __init__(self, publication: Publication, sender: RTCRtpSender, metrics: Metrics) -> None:
        self.bitrate_bps: float | None = None
        self.loss = 0.0
        self.sent = 0
        self.octets = 0
        self.repaired = 0
        self.skipped = 0
        self.heard_s = 0.0
        self._publication, self._metrics = publication, metrics
        self._loop = asyncio.get_running_loop()
        self._outlet = Outlet(sender, begun=self._begun, heard=self._heard, report=self._report)
        self._ssrc, self._repair_ssrc = self._outlet.ssrc, self._outlet.repair_ssrc
        self._type, self._extension = 96, 0
        self._repair_type: int | None = None
        self._waiting = True
        self._from = 0
        self._seq_offset = random.randrange(0x4000)  # noqa: S311  RFC 3550's random start, no secret
        self._time_offset = random.randrange(1 << 32)  # noqa: S311
        self._last_seq, self._last_time, self._last_s = self._seq_offset, self._time_offset, 0.0
        self._last_ntp = 0
        self._repair_seq = random.randrange(0x4000)  # noqa: S311
        self._repairs = (0.0, 0)
        self._key_asked_s = -1e9

    @property
    def time_offset(self) -> int:
        """Added to the publisher's timestamps for this viewer, in 90 kHz ticks modulo 2^32."""
        return self._time_offset

    @property
    def playing(self) -> bool:
        return not self._waiting

    def leave(self) -> None:
        self._publication.leave(self)
        self._outlet.close()

    def publisher_changed(self) -> None:
        self._waiting = True

    def take(self, burst: Sequence[Packet]) -> None:
        """Forward the packets, starting at a keyframe; when the socket is congested, skip to the next keyframe."""
        going = [packet for packet in burst if not self._waiting or self._start(packet)]
        if not going:
            return
        if self._outlet.waiting_bytes > DROP_BEYOND_BYTES:
            self._waiting = True
            self.skipped += 1
            self._metrics.video_skipped.inc()
            return
        last = going[-1]
        if self._outlet.transmit([self._head(packet) + self._tail(packet) for packet in going]):
            self.sent += len(going)
            self.octets += sum(len(packet.payload) for packet in going)
            self._last_seq = (last.index + self._seq_offset) & 0xFFFF
            self._last_time = (last.timestamp + self._time_offset) & 0xFFFFFFFF
            if last.marker:
                self._last_s, self._last_ntp = self._loop.time(), current_ntp_time()

    def _head(self, packet: Packet) -> bytes:
        seq = (packet.index + self._seq_offset) & 0xFFFF
        timestamp = (packet.timestamp + self._time_offset) & 0xFFFFFFFF
        return _HEADER.pack(0x90, self._type | packet.marker << 7, seq, timestamp, self._ssrc)

    def _start(self, packet: Packet) -> bool:
        """Start at a keyframe: sequence numbers continue, and the timestamp advances by the time that has passed."""
        if not packet.key:
            return False
        self._waiting = False
        self._from = packet.index
        passed = int((self._loop.time() - self._last_s) * 90_000) if self._last_s else 0
        self._seq_offset = (self._last_seq + 1 - packet.index) & 0xFFFF
        self._time_offset = (self._last_time + max(passed, 3000) - packet.timestamp) & 0xFFFFFFFF
        return True

    def _tail(self, packet: Packet) -> bytes:
        """Header extension (the sending time, for the viewer's bandwidth estimate) and payload; shared by most
        viewers.
        """
        tail = packet.tails.get(self._extension)
        if tail is None:
            now = (current_ntp_time() >> 14) & 0xFFFFFF
            first = self._extension << 4 | 2 if self._extension else 0
            time = (now >> 16, now >> 8 & 0xFF, now & 0xFF) if self._extension else (0, 0, 0)
            tail = packet.tails[self._extension] = _EXTENSION.pack(0xBEDE, 1, first, *time) + packet.payload
        return tail

    # -- what the viewer says ----------------------------------------------------------------------------------------

    def _begun(self, parameters: RTCRtpSendParameters) -> None:
        codec = parameters.codecs[0]
        self._type = codec.payloadType or 96
        self._repair_type = next(
            (one.payloadType for one in parameters.codecs if one.parameters.get("apt") == self._type), None
        )
        self._extension = next((one.id for one in parameters.headerExtensions if one.uri == ABS_SEND_TIME), 0)
        self.heard_s = self._loop.time()
        self._publication.join(self)

    def _heard(self, packet: Any) -> None:
        self.heard_s = self._loop.time()
        if isinstance(packet, RtcpRtpfbPacket) and packet.fmt == RTCP_RTPFB_NACK:
            for seq in packet.lost:
                self._repair(seq)
        elif isinstance(packet, RtcpRrPacket):
            self.loss = max((report.fraction_lost / 256 for report in packet.reports), default=0.0)
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
            self._wants_keyframe()
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
            self._estimated(packet.fci)

    def _estimated(self, fci: bytes) -> None:
        try:
            self.bitrate_bps = float(unpack_remb_fci(fci)[0])
        except ValueError:
            return

    def _wants_keyframe(self) -> None:
        if self.heard_s - self._key_asked_s >= rules.KEY_PER_VIEWER_S:
            self._key_asked_s = self.heard_s
            self._publication.want_keyframe()

    def _repair(self, seq: int) -> None:
        """Send a lost packet again, in a separate stream if the viewer negotiated one (RFC 4588)."""
        packet = self._publication.kept((seq - self._seq_offset) & 0xFFFF)
        if packet is None or packet.index < self._from or not self._may_repair():
            return
        tail = self._tail(packet)
        if self._repair_type is None:
            data = self._head(packet) + tail
        else:
            kind = self._repair_type | packet.marker << 7
            timestamp = (packet.timestamp + self._time_offset) & 0xFFFFFFFF
            self._repair_seq = (self._repair_seq + 1) & 0xFFFF
            head = _HEADER.pack(0x90, kind, self._repair_seq, timestamp, self._repair_ssrc)
            data = head + tail[: _EXTENSION.size] + seq.to_bytes(2, "big") + packet.payload
        if self._outlet.transmit([data]):
            self.repaired += 1
            self._metrics.video_repaired.inc()

    def _may_repair(self) -> bool:
        """Limits repairs per second, so that a line that loses everything cannot ask for too much."""
        second, count = self._repairs
        if self.heard_s - second > 1.0:
            second, count = self.heard_s, 0
        self._repairs = second, count + 1
        return count < rules.REPAIRS_PER_S

    def _report(self) -> tuple[int, int, int, int]:
        return self._last_ntp, self._last_time, self.sent & 0xFFFFFFFF, self.octets & 0xFFFFFFFF


class FrameTrack(MediaStreamTrack):
    """Encoded frames of a publication, as aiortc takes them; a full queue is emptied and restarts at the next
    keyframe.
    """

    kind = "video"

    def __init__(self, publication: Publication, metrics: Metrics) -> None:
        super().__init__()
        self.skipped = 0
        self.sent = 0
        self._publication, self._metrics = publication, metrics
        self._frames: deque[Frame] = deque()
        self._news = asyncio.Event()
        self._origin: int | None = None
        self._starting = True
        publication.listen(self._take)

    def stop(self) -> None:
        super().stop()
        self._publication.unlisten(self._take)
        self._news.set()

    def _take(self, frame: Frame) -> None:
        if self._starting and not frame.key:
            return
        self._starting = False
        if len(self._frames) >= FRAMES_WAITING:
            self.skipped += len(self._frames)
            self._metrics.video_skipped.inc(len(self._frames))
            self._frames.clear()
            self._starting = True
            self._publication.want_keyframe()
            return
        self._frames.append(frame)
        self._news.set()

    async def recv(self) -> av.Packet[Any]:
        while not self._frames:
            if self.readyState != "live":
                raise MediaStreamError
            self._news.clear()
            await self._news.wait()
        frame = self._frames.popleft()
        if self._origin is None:
            self._origin = frame.timestamp
        packet = av.Packet(frame.data)
        packet.pts, packet.time_base = frame.timestamp - self._origin, _TIME_BASE
        self.sent += 1
        return packet


def frame_track(publication: Publication, metrics: Metrics) -> FrameTrack:
    """A track that listens to the publication until it is stopped."""
    return FrameTrack(publication, metrics)


class FrameLeg:
    """The alternative to RawLeg: aiortc packetises for this viewer and repairs from its own history."""

    bitrate_bps: float | None = None
    time_offset = 0
    loss = 0.0
    repaired = 0
    octets = 0

    def __init__(self, publication: Publication, track: FrameTrack) -> None:
        self.heard_s = asyncio.get_running_loop().time()
        self._publication, self._track = publication, track
        publication.join(self)

    @property
    def sent(self) -> int:
        return self._track.sent

    @property
    def skipped(self) -> int:
        return self._track.skipped

    @property
    def playing(self) -> bool:
        return self._track.sent > 0

    def take(self, burst: Sequence[Packet]) -> None:
        """Does nothing: frames reach the track through its own subscription."""

    def publisher_changed(self) -> None:
        """Does nothing: the publication restarts its sequence of frames by itself."""

    def leave(self) -> None:
        self._track.stop()
        self._publication.leave(self)
