"""Encodes a camera's pictures as H.264 or VP8 without delay, by the Pi's hardware if present, else in software.

An encoder has one bit rate and one size for life; for others, another is created. It may be used from different
threads, one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal

import av
import structlog
from av.video.frame import PictureType

from agent.errors import VideoError
from agent.sources.slot import Image

Codec = Literal["H264", "VP8"]
CLOCK = Fraction(1, 90_000)
KEY_EVERY = 300
"""Frames between keyframes that were not requested: ten seconds at 30 per second."""
BY_PREFERENCE: Mapping[Codec, tuple[tuple[str, dict[str, str]], ...]] = {
    "H264": (
        ("h264_v4l2m2m", {"num_output_buffers": "8", "num_capture_buffers": "8"}),
        ("libx264", {"preset": "veryfast", "tune": "zerolatency", "sc_threshold": "0", "level": "31"}),
    ),
    "VP8": (("libvpx", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "error-resilient": "1"}),),
}

log = structlog.get_logger(__name__)


class Encoder:
    """`encode` returns the picture's packet, or nothing while the hardware fills its queue."""

    def __init__(self, codec: Codec, width: int, height: int, rate_bps: int, fps: float) -> None:
        self.size = width, height
        self.rate_bps = rate_bps
        self.name, self._context = _open(codec, width, height, rate_bps, fps)
        self._repeats_headers = self.name == "h264_v4l2m2m"

    def encode(self, image: Image, pts: int, *, key: bool) -> bytes:
        """`image` uint8[height, width, 3], blue-green-red; `pts` in units of 1/90000 s, increasing.

        VideoError on failure.
        """
        frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p")
        frame.pts, frame.time_base = pts, CLOCK
        frame.pict_type = PictureType.I if key else PictureType.NONE
        try:
            packets = self._context.encode(frame)
        except av.FFmpegError as error:
            raise VideoError(f"the encoder {self.name} failed: {error.strerror}", encoder=self.name) from None
        return b"".join(self._whole(packet) for packet in packets)

    def _whole(self, packet: Any) -> bytes:
        """The packet; keyframes get the parameter sets prepended, which hardware encoders send only once."""
        headers = self._context.extradata if self._repeats_headers and packet.is_keyframe else None
        return bytes(headers or b"") + bytes(packet)


def _open(codec: Codec, width: int, height: int, rate_bps: int, fps: float) -> tuple[str, Any]:
    for name, options in BY_PREFERENCE[codec]:
        try:
            context: Any = av.CodecContext.create(name, "w")
            context.width, context.height, context.pix_fmt = width, height, "yuv420p"
            context.time_base, context.framerate = CLOCK, Fraction(round(fps))
            context.bit_rate, context.gop_size = rate_bps, KEY_EVERY
            context.options = options
            if name == "libx264":
                context.profile = "Baseline"
            context.open()
        except (av.FFmpegError, ValueError):
            continue
        log.info("video_encoder", encoder=name, width=width, height=height, rate_bps=rate_bps)
        return name, context
    raise VideoError(f"no encoder for {codec} opens here", codec=codec)
