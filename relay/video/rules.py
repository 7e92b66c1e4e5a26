"""What the relay's video decides from bytes and numbers alone: keyframes, bandwidth, offers, who prefers a page.

Pure: time is an argument. RTP payloads are those of RFC 6184 (H.264) and RFC 7741 (VP8).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from relay.errors import BadOffer

MAX_OFFER = 65_536
"""Characters of an offer: browsers send 5 to 10 thousand; more is a mistake or an attack."""
MAX_LINES = 2_000
KEY_EVERY_S = 0.3
"""Between two requests for a keyframe upstream, however many viewers ask."""
KEY_PER_VIEWER_S = 1.0
"""Between two requests of one viewer that are heeded: one bad line must not make everybody's picture coarse."""
LOW_SHARE = 0.2
"""The estimate fed back to the kit: a fifth of the viewers may have less bandwidth, the rest has at least so much."""
LEAST_BPS = 150_000
REPAIRS_PER_S = 400

_IDR, _SPS, _STAP_A, _FU_A = 5, 7, 24, 28
_HIDDEN = re.compile(r"^a=(?:candidate:.*\.local .*|end-of-candidates)\r?\n", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]")


def starts_keyframe(codec: str, payload: bytes) -> bool:
    """Whether a decoder may begin with this RTP payload; `codec` is H264 or VP8."""
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
    """Types of the NAL units in a STAP-A."""
    at = 1
    while at + 2 < len(payload):
        yield payload[at + 2] & 0x1F
        at += 2 + int.from_bytes(payload[at : at + 2], "big")


def _vp8_key(payload: bytes) -> bool:
    """The first packet (S, partition 0) of a frame whose own first bit says key."""
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
    """The running number nearest to `last` whose low 16 bits are `seq`."""
    return last + ((seq - last + 0x8000) & 0xFFFF) - 0x8000


@dataclass(slots=True)
class KeyframeWish:
    """Wanted until one comes, asked for at most every KEY_EVERY_S."""

    wanted: bool = False
    asked_s: float = -1e9

    def due(self, now_s: float) -> bool:
        """Whether to ask now; counts as asked."""
        if not self.wanted or now_s - self.asked_s < KEY_EVERY_S:
            return False
        self.asked_s = now_s
        return True


def share_of(estimates: Iterable[float], share: float = LOW_SHARE) -> float | None:
    """The bit rate that all but `share` of the viewers can take; None without any estimate."""
    found = sorted(estimates)
    if not found:
        return None
    return max(LEAST_BPS, found[min(len(found) - 1, int(len(found) * share))])


def without_mdns(sdp: str) -> str:
    """The offer without `.local` candidates: resolving each takes a second, and the checks find the browser anyway.

    Nor may it say that these were all: a browser that hides its every address would not be waited for.
    """
    return _HIDDEN.sub("", sdp)


def checked_offer(sdp: str) -> str:
    """The offer, when it may be parsed at all. Raises BadOffer saying what is wrong."""
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
    """Whether an Accept header (RFC 9110 section 12.5.1) ranks text/html above JSON; a program's */* does not."""
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
