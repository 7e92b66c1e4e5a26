"""The cameras that send to this relay. Each kit has one place, which keeps its viewers while the kit is away.

A kit's new connection replaces its earlier one. A connection that has gone silent is closed; its viewers keep waiting.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass

import structlog

from relay.errors import Full, NotFound
from relay.process.metrics import Metrics
from relay.video.endings import Endings
from relay.video.peers import Network, PublisherPeer, answer_publisher
from relay.video.publication import Publication
from relay.video.viewers import Viewers

SILENT_S = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a viewer asks for. With every field None: the live camera, or the sample if there is none."""

    video_path: str | None = None
    kit: str | None = None
    session: str | None = None


@dataclass(eq=False)
class Camera:
    """A kit's place. Its publication stays while viewers wait for the kit to come back."""

    kit: str
    publication: Publication
    publisher: PublisherPeer | None = None
    id: str = ""
    began_s: float = 0.0
    since_ms: int = 0
    gone_s: float = 0.0
    counted: int = 0


class Cameras:
    """At most `most` kits' places. A place nobody watches is kept for `keep_s` seconds after its kit has gone."""

    def __init__(
        self, network: Network, metrics: Metrics, viewers: Viewers, endings: Endings, *, most: int, keep_s: float
    ) -> None:
        self._network, self._metrics, self._viewers, self._endings = network, metrics, viewers, endings
        self._most, self._keep_s = most, keep_s
        self._of_kit: dict[str, Camera] = {}

    async def publish(self, sdp: str, kit: str, session: str | None) -> tuple[str, str]:
        """Start a kit's camera. Returns its id and the SDP answer. An earlier connection of the same kit is closed."""
        if kit not in self._of_kit and len(self._of_kit) >= self._most:
            raise Full("This relay takes as many cameras as it may; try again later")
        publisher, answer = await answer_publisher(
            sdp, lambda codec: self._place(kit, codec, session).publication, self._network
        )
        camera = self.take_in(kit, publisher)
        log.info("video_published", kit=kit, codec=publisher.publication.codec)
        return camera.id, answer

    def place(self, kit: str, codec: str, session: str | None) -> Publication:
        """The publication for a camera that sends to another relay; `take_in` then starts it."""
        return self._place(kit, codec, session).publication

    def give_up(self, camera: Camera, publisher: PublisherPeer) -> None:
        """Close this connection; the camera's viewers wait for the kit to come back."""
        self._let_go(camera, publisher)
        self._endings.soon(publisher)

    def holds(self, wish: Wish) -> bool:
        """Whether a camera that matches the wish sends to this relay now."""
        live = [one for one in self._of_kit.values() if one.publisher is not None]
        return any(wish.kit in (None, one.kit) and wish.session in (None, one.publication.session) for one in live)

    async def unpublish(self, kit: str, publishing: str) -> None:
        camera = self._of_kit.get(kit)
        if camera is None or camera.publisher is None or camera.id != publishing:
            raise NotFound(f"Kit {kit} does not publish that")
        publisher = camera.publisher
        self._let_go(camera, publisher)
        await publisher.end()

    def shown(self) -> list[Camera]:
        """Cameras that send now, or that viewers are waiting for."""
        return [camera for camera in self._of_kit.values() if camera.publisher or camera.publication.legs]

    def of(self, kit: str) -> Camera:
        """The kit's camera. Raises NotFound if the kit has no place."""
        found = self._of_kit.get(kit)
        if found is None:
            raise NotFound(f"Kit {kit[:64]} sends no video. It may be off, or its patient shows none")
        return found

    def meant(self, wish: Wish) -> Camera | None:
        """The camera of the wished kit or session (NotFound if there is none), else the one that started last."""
        if wish.kit is not None:
            return self.of(wish.kit)
        live = [one for one in self._of_kit.values() if one.publisher is not None]
        if wish.session is not None:
            found = next((one for one in self._of_kit.values() if one.publication.session == wish.session), None)
            if found is None:
                raise NotFound("No camera belongs to this session now")
            return found
        return max(live, key=lambda camera: camera.began_s, default=None)

    def sweep(self, now_s: float) -> None:
        """Send each kit a sign of life, and close the connections that went silent."""
        for camera in list(self._of_kit.values()):
            self._sweep(camera, now_s)

    async def end_all(self) -> None:
        ends = [camera.publisher.end() for camera in self._of_kit.values() if camera.publisher]
        self._of_kit.clear()
        await asyncio.gather(*ends, return_exceptions=True)

    def take_in(self, kit: str, publisher: PublisherPeer) -> Camera:
        """Use `publisher` as the kit's connection from now on; an earlier one is closed."""
        camera = self._of_kit[kit]
        before, camera.publisher = camera.publisher, publisher
        camera.id, camera.since_ms = str(uuid.uuid4()), time.time_ns() // 1_000_000
        camera.began_s = publisher.heard_s = asyncio.get_running_loop().time()
        publisher.publication.attach(publisher)
        publisher.peer.on("connectionstatechange", lambda: self._publisher_changed(camera, publisher))
        if before is not None:
            self._endings.soon(before)
        self._count()
        return camera

    def _place(self, kit: str, codec: str, session: str | None) -> Camera:
        """The kit's place, with its viewers. A different codec needs a new place, since the viewers cannot switch
        codec.
        """
        camera = self._of_kit.get(kit)
        if camera is None or camera.publication.codec != codec:
            if camera is not None:
                for watching in self._viewers.of(camera.publication):
                    self._viewers.let_out(watching)
            publication = Publication(f"kit:{kit}", codec, self._metrics, kit=kit, session=session)
            publisher = camera.publisher if camera is not None else None
            camera = self._of_kit[kit] = Camera(kit, publication, publisher)
        camera.publication.session = session
        for watching in self._viewers.of(camera.publication):
            if watching.bound not in (None, session):
                self._viewers.let_out(watching)
        return camera

    def _sweep(self, camera: Camera, now_s: float) -> None:
        publication, publisher = camera.publication, camera.publisher
        self._metrics.video_packets.labels("in").inc(publication.packets - camera.counted)
        camera.counted = publication.packets
        if publisher is not None:
            publisher.greet()
            if now_s - publisher.heard_s > SILENT_S:
                self.give_up(camera, publisher)
        if camera.publisher is None and not publication.legs and now_s - camera.gone_s > self._keep_s:
            self._of_kit.pop(camera.kit, None)

    def _publisher_changed(self, camera: Camera, publisher: PublisherPeer) -> None:
        if publisher.peer.connectionState in ("failed", "closed"):
            self.give_up(camera, publisher)

    def _let_go(self, camera: Camera, publisher: PublisherPeer) -> None:
        if camera.publisher is publisher:
            camera.publisher, camera.gone_s = None, asyncio.get_running_loop().time()
            publisher.publication.detach(publisher)
            self._count()
            log.info("video_publisher_gone", kit=camera.kit)

    def _count(self) -> None:
        self._metrics.video_publications.set(sum(one.publisher is not None for one in self._of_kit.values()))
