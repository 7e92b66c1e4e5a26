"""Decodes a video file to pictures at a steady rate, with PyAV, in a thread. Limits are checked before and during
decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from relay.errors import VideoRefused
from relay.signs.detection.pictures import MAX_PIXELS, Pixels

if TYPE_CHECKING:
    import av


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: `t_ms` counts from the start of the video, `share` (0-1) is the part of the video decoded so far."""

    t_ms: float
    pixels: Pixels
    share: float


def pictures(path: Path, rate: float, most_minutes: float) -> Iterator[Picture]:
    """Yields pictures `1 / rate` s apart. Raises VideoRefused for a file that is no video, has no pictures, or is too
    long.
    """
    import av  # a relay that is asked for no film starts without its libraries

    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}) as film:
            yield from _pictures(film, rate, most_minutes)
    except (av.FFmpegError, OSError, IndexError, ValueError) as error:
        raise VideoRefused(f"This cannot be read as a video ({type(error).__name__}).") from None


def _pictures(film: av.container.InputContainer, rate: float, most_minutes: float) -> Iterator[Picture]:
    if not film.streams.video:
        raise VideoRefused("There is no picture in this video.")
    stream = film.streams.video[0]
    if stream.width * stream.height > MAX_PIXELS:
        raise VideoRefused(f"The video has {stream.width}×{stream.height} pixels; at most {MAX_PIXELS} are read.")
    seconds = (film.duration or 0) / 1e6
    if seconds > most_minutes * 60:
        raise VideoRefused(f"The video lasts {seconds / 60:.0f} minutes; at most {most_minutes:g} are read.")
    next_s, began = 0.0, None
    for frame in film.decode(stream):
        began = frame.time if began is None else began
        at = float(frame.time or 0.0) - float(began or 0.0)
        if at > most_minutes * 60:
            raise VideoRefused(f"The video is longer than {most_minutes:g} minutes.")
        if at + 1e-6 >= next_s:
            next_s = max(next_s + 1 / rate, at)
            share = min(at / seconds, 1.0) if seconds else 0.0
            yield Picture(at * 1000, np.asarray(frame.to_ndarray(format="bgr24"), np.uint8), share)
