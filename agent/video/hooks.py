# ruff: noqa: SLF001  this is the one module of the agent that touches private parts
"""The only module that uses private parts of aiortc; each use has a test of its own. Pinned: ~=1.16.

The kit encodes by itself and hands packets to aiortc, through its public interface. There is none for what a peer tells
a sender (keyframe requests, bandwidth estimates) or for where the sender's timestamps begin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiortc import RTCRtpSender
from aiortc.rtp import RTCP_PSFB_APP, RTCP_PSFB_FIR, RTCP_PSFB_PLI, RtcpPsfbPacket, unpack_remb_fci


def listen(sender: RTCRtpSender, *, keyframe: Callable[[], None], estimate: Callable[[int], None]) -> None:
    """Call `keyframe` when the peer requests one, and `estimate` with its bandwidth estimate in bits per second."""
    inside = cast("Any", sender)
    heard: Callable[[Any], Awaitable[None]] = inside._handle_rtcp_packet

    async def hear(packet: Any) -> None:
        if isinstance(packet, RtcpPsfbPacket):
            if packet.fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
                keyframe()
            elif packet.fmt == RTCP_PSFB_APP and (found := _estimate(packet.fci)) is not None:
                estimate(found)
        await heard(packet)

    inside._handle_rtcp_packet = hear


def last_timestamp(sender: RTCRtpSender) -> int | None:
    """The RTP timestamp of the last packet sent; None before the first."""
    inside = cast("Any", sender)
    return int(inside._RTCRtpSender__rtp_timestamp) if inside._RTCRtpSender__packet_count else None


def _estimate(fci: bytes) -> int | None:
    try:
        return int(unpack_remb_fci(fci)[0])
    except ValueError:
        return None
