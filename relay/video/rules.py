"""Decisions of the relay's video made from bytes and numbers alone: keyframes, bandwidth, offers, HTML or JSON.

Pure: time is an argument. RTP payloads are those of RFC 6184 (H.264) and RFC 7741 (VP8).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from relay.errors import BadOffer

MAX_OFFER = 65_536
"""Most characters of an offer. Browsers send 5 to 10 thousand; more is a mistake or an attack."""
MAX_LINES = 2_000
KEY_EVERY_S = 0.3
"""Least seconds between two keyframe requests to the publisher, however many viewers ask."""
KEY_PER_VIEWER_S = 1.0
"""Least seconds between two requests of one viewer that are obeyed: one bad line must not lower everybody's quality."""
LOW_SHARE = 0.2
"""Share of the viewers that may have less bandwidth than the estimate sent to the kit; the others have at least as
much.
"""
LEAST_BPS = 150_000
REPAIRS_PER_S = 400

_IDR, _SPS, _STAP_A, _FU_A = 5, 7, 24, 28
_HIDDEN = re.compile(r"^a=(?:candidate:.*\.local .*|end-of-candidates)\r?\n", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]")


def starts_keyframe(codec: str, payload: bytes) -> bool:
    """Whether a decoder can start at this RTP payload; `codec` is H264 or VP8."""
    if not payload:
        return False
    return _h264_key(payload) if codec == "H264" else _vp8_key(payload)


def _h264_key(payload: bytes) -> bool:
    kind = payload[0] & 0x1F
    if kind == _STAP_A:
        return any(found in (_SPS, _IDR) for found in _aggregated(payload))
    if kind == _FU_A and len(payload) > 1:
        kind = payload[1] & 0x1F if payload[1] & 0x80 else 0
    return kind in (_SPS, _IDR)


def _aggregated(payload: bytes) -> Iterator[int]:
    """NAL unit types in a STAP-A packet."""
    at = 1
    while at + 2 < len(payload):
        yield payload[at + 2] & 0x1F
        at += 2 + int.from_bytes(payload[at : at + 2], "big")


def _vp8_key(payload: bytes) -> bool:
    """Whether this is the first packet (S bit, partition 0) of a keyframe."""
    if not payload[0] & 0x10 or payload[0] & 0x07:
        return False
    at = 1
    if payload[0] & 0x80 and len(payload) > 2:
        extension = payload[1]
        at = 2
        if extension & 0x80:
            at += 2 if payload[at] & 0x80 else 1
        at += bool(extension & 0x40)
        at += bool(extension & 0x30)
    return len(payload) > at and not payload[at] & 1


def unwrapped(last: int, seq: int) -> int:
    """The extended (non-wrapping) number nearest to `last` whose low 16 bits are `seq`."""
    return last + ((seq - last + 0x8000) & 0xFFFF) - 0x8000


@dataclass(slots=True)
class KeyframeWish:
    """Whether a keyframe is wanted: until one arrives, and requested at most every KEY_EVERY_S."""

    wanted: bool = False
    asked_s: float = -1e9

    def due(self, now_s: float) -> bool:
        """Whether to send a request now; if so, it counts as sent."""
        if not self.wanted or now_s - self.asked_s < KEY_EVERY_S:
            return False
        self.asked_s = now_s
        return True


def share_of(estimates: Iterable[float], share: float = LOW_SHARE) -> float | None:
    """The bit rate that all but `share` of the viewers can take; None if there is no estimate."""
    found = sorted(estimates)
    if not found:
        return None
    return max(LEAST_BPS, found[min(len(found) - 1, int(len(found) * share))])


def without_mdns(sdp: str) -> str:
    """The offer without `.local` candidates: resolving each takes a second, and ICE checks find the browser anyway.

    The end-of-candidates line is removed too, or a browser that hides all its addresses would not be waited for.
    """
    return _HIDDEN.sub("", sdp)


def checked_offer(sdp: str) -> str:
    """The offer, if it is fit to be parsed. Raises BadOffer saying what is wrong."""
    if len(sdp) > MAX_OFFER or sdp.count("\n") > MAX_LINES:
        raise BadOffer(f"The SDP is longer than {MAX_OFFER} characters or {MAX_LINES} lines")
    if not sdp.startswith("v=0") or _CONTROL.search(sdp):
        raise BadOffer("The SDP offer cannot be read: it does not begin with v=0, or holds control characters")
    for needed, what in (
        ("\nm=", "media section"),
        ("\na=ice-ufrag:", "ICE user"),
        ("\na=fingerprint:", "fingerprint"),
    ):
        if needed not in sdp:
            raise BadOffer(f"The SDP offer has no {what}")
    if "\nm=video " not in sdp:
        raise BadOffer("The SDP offer has no video section; add a transceiver that receives video")
    return without_mdns(sdp if sdp.endswith("\n") else sdp + "\r\n")


def prefers_html(accept: str) -> bool:
    """Whether an Accept header (RFC 9110 section 12.5.1) ranks text/html above JSON; `*/*` alone does not."""
    page, data = 0.0, 0.0
    for part in accept.lower().split(","):
        kind, _, rest = part.strip().partition(";")
        weight = _weight(rest)
        if kind.strip() == "text/html":
            page = max(page, weight)
        elif kind.strip() in ("application/json", "application/*"):
            data = max(data, weight)
    return page > data


def _weight(parameters: str) -> float:
    found = re.search(r"(?:^|;)\s*q=([01](?:\.\d{0,3})?)\s*(?:;|$)", parameters)
    return float(found.group(1)) if found else 1.0
