"""Cameras: pictures with the moment they were taken, from a Pi's own camera, USB, the network, a file, or made up.

A device is opened, read and closed in one thread; what it gives is upright and goes into a slot one frame deep.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from agent.sources.slot import Image


class Picture(NamedTuple):
    """One picture as the device gave it; `captured_ns` on the host's monotonic clock."""

    image: Image
    captured_ns: int


class Device(Protocol):
    """`open` raises CameraError, `read` blocks until the next picture and gives None when a recording is through."""

    name: str
    kind: str

    def open(self) -> None: ...

    def read(self) -> Picture | None:
        """Raises CameraError when nothing can be read any more."""
        ...

    def close(self) -> None: ...
