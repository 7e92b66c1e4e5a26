"""Cameras: pictures with their capture times, from a Pi's own camera, USB, the network, a file, or a test picture.

A device is opened, read and closed in one thread; its pictures are turned upright and put into a slot one frame deep.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from agent.sources.slot import Image


class Picture(NamedTuple):
    """One picture as the device delivered it; `captured_ns` on the host's monotonic clock."""

    image: Image
    captured_ns: int


class Device(Protocol):
    """`open` raises CameraError; `read` blocks until the next picture and returns None at the end of a recording."""

    name: str
    kind: str

    def open(self) -> None: ...

    def read(self) -> Picture | None:
        """Raises CameraError when nothing more can be read."""
        ...

    def close(self) -> None: ...
