"""Files being played: each once for all its viewers, and only while somebody watches."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from relay.process.metrics import Metrics
from relay.video.gateway import SAMPLE, FilePublisher, MediaFolder, ensure_video
from relay.video.publication import Publication

LINGERS_S = 10.0


@dataclass(eq=False)
class Playing:
    """A file being played."""

    publication: Publication
    task: asyncio.Task[None]
    idle_since_s: float | None = None

    def end(self) -> None:
        self.task.cancel()
        self.publication.publisher = None


class Files:
    """The files of the media folder that are being played."""

    def __init__(self, media: MediaFolder, metrics: Metrics) -> None:
        self._media, self._metrics = media, metrics
        self._playing: dict[str, Playing] = {}

    async def play(self, name: str | None) -> Publication:
        """Start the file, or join it where it is; None means the sample. Raises SourceMissing."""
        if name in (None, SAMPLE):
            await self._media.prepare()
        path = self._media.find(name)
        await asyncio.to_thread(ensure_video, path)
        key = path.name if name is None else name
        playing = self._playing.get(key)
        if playing is None or playing.task.done():
            publication = Publication(f"file:{key}", "H264", self._metrics)
            publisher = FilePublisher(path, publication)
            publication.attach(publisher)
            playing = self._playing[key] = Playing(
                publication, asyncio.create_task(publisher.play(), name=f"plays {key}")
            )
        return playing.publication

    def sweep(self, now_s: float, *, asked: bool) -> None:
        """Stop files nobody watches. `asked` is true while a new viewer is being connected."""
        for name, playing in list(self._playing.items()):
            self._sweep(name, playing, now_s, asked=asked)

    def end_all(self) -> None:
        for playing in self._playing.values():
            playing.end()

    def _sweep(self, name: str, playing: Playing, now_s: float, *, asked: bool) -> None:
        used = playing.publication.legs or asked
        playing.idle_since_s = None if used else playing.idle_since_s or now_s
        if playing.task.done() or (playing.idle_since_s and now_s - playing.idle_since_s > LINGERS_S):
            playing.end()
            self._playing.pop(name, None)
