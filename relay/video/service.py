"""Resolves a wish to watch: a kit's camera, a session's, or a file; otherwise the newest camera, otherwise the sample.

Knows neither HTTP nor RTP. A camera that sends to another relay is brought here when somebody wants it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from relay.process.metrics import Metrics
from relay.video.cameras.places import Camera, Cameras, Wish
from relay.video.endings import Endings
from relay.video.gateway import MediaFolder
from relay.video.peers import Network
from relay.video.playing import Files
from relay.video.publication import Publication
from relay.video.recorder import Recordings
from relay.video.viewers import Viewers

SWEEP_S = 1.0


class Elsewhere(Protocol):
    """Cameras that send to other relays of a cluster."""

    async def bring(self, wish: Wish) -> None:
        """Bring the wished camera to this relay as well, if another relay has it."""
        ...

    def sent(self) -> Sequence[Sent]: ...
    def brought(self, kit: str) -> bool: ...


class Sent(Protocol):
    """A camera that sends to another relay, as `/api/cameras` shows it."""

    @property
    def kit(self) -> str: ...
    @property
    def session(self) -> str | None: ...
    def line(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    viewers: int = 500
    cameras: int = 200
    raw: bool = True
    keep_camera_s: float = 600.0


@dataclass(eq=False)
class VideoService:
    """`viewers` watch, `cameras` send. `run` is its duty; `drained` closes every peer when the relay stops."""

    media: MediaFolder
    network: Network
    metrics: Metrics
    recordings: Recordings
    bounds: Bounds = field(default_factory=Bounds)
    elsewhere: Elsewhere | None = None

    def __post_init__(self) -> None:
        network, metrics, bounds = self.network, self.metrics, self.bounds
        self._endings = Endings()
        self._files = Files(self.media, metrics)
        self.viewers = Viewers(network, metrics, self._endings, most=bounds.viewers, raw=bounds.raw)
        self.cameras = Cameras(
            network, metrics, self.viewers, self._endings, most=bounds.cameras, keep_s=bounds.keep_camera_s
        )

    async def source(self, wish: Wish) -> Publication:
        """The publication that matches the wish now. Raises SourceMissing for a file, NotFound for a camera."""
        if wish.video_path is None:
            if self.elsewhere is not None and not self.cameras.holds(wish):
                await self.elsewhere.bring(wish)
            camera = self.cameras.meant(wish)
            if camera is not None:
                return camera.publication
        return await self._files.play(wish.video_path)

    async def sample(self) -> Publication:
        return await self._files.play(None)

    def own_cameras(self) -> list[Camera]:
        """Cameras that send directly to this relay, not brought from another."""
        shown = self.cameras.shown()
        return [one for one in shown if self.elsewhere is None or not self.elsewhere.brought(one.kit)]

    async def run(self) -> None:
        """Remove, every SWEEP_S seconds, whatever has gone silent. Never returns."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = asyncio.get_running_loop().time()
            self.viewers.sweep(now_s)
            self.cameras.sweep(now_s)
            self._files.sweep(now_s, asked=self.viewers.answering > 0)

    async def drained(self) -> None:
        """Close every peer and stop every file and recording."""
        await self.recordings.end_all()
        self._files.end_all()
        await asyncio.gather(self.viewers.end_all(), self.cameras.end_all(), self._endings.all_done())
