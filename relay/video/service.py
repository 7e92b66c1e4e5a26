"""Who watches what: publications by name, viewers by session id, publishers by kit. Knows neither HTTP nor bytes.

A viewer asks for a kit, a session, a file, or nothing in particular: then the camera that began last shows, else the
sample. A session that failed, closed or fell silent is forgotten within seconds.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from relay.errors import Full, NotFound, RelayError, SessionNotFound
from relay.process.metrics import Metrics
from relay.video.gateway import SAMPLE, FilePublisher, MediaFolder, ensure_video
from relay.video.peers import Network, PublisherPeer, Viewer, answer_publisher, answer_viewer
from relay.video.publication import Publication
from relay.video.recorder import Recordings

CONNECT_WITHIN_S = 20.0
SILENT_S = 20.0
"""A viewer that sent no report for so long has gone without a word."""
PUBLISHER_SILENT_S = 10.0
FILE_LINGERS_S = 10.0
SWEEP_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a viewer asks for; all None is the live camera, else the sample."""

    video_path: str | None = None
    kit: str | None = None
    session: str | None = None


class Elsewhere(Protocol):
    """Cameras that send to other relays of a cluster."""

    async def bring(self, wish: Wish) -> None:
        """Have the camera that is meant here as well, if another relay has it."""
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


@dataclass(eq=False)
class Watching:
    """A viewer's session."""

    id: str
    viewer: Viewer
    subject: str
    began_s: float
    forget: Callable[[Watching], None]
    bound: str | None = None
    """The heart session whose camera alone this viewer's link shows."""

    def end(self, code: int, reason: str = "") -> None:
        """Whoever watches may do so no longer."""
        log.info("video_watched_no_more", session=self.id, code=code, reason=reason)
        self.forget(self)

    def states(self) -> dict[str, str]:
        """The document's five keys."""
        peer = self.viewer.peer
        ice = peer.iceConnectionState
        return {
            "session_id": self.id,
            "connection_state": peer.connectionState,
            "ice_connection_state": "connected" if ice == "completed" else ice,
            "ice_gathering_state": peer.iceGatheringState,
            "signaling_state": peer.signalingState,
        }


@dataclass(eq=False)
class Camera:
    """A kit's place: its publication stays while viewers wait for the kit to come back."""

    kit: str
    publication: Publication
    publisher: PublisherPeer | None = None
    id: str = ""
    began_s: float = 0.0
    since_ms: int = 0
    gone_s: float = 0.0
    counted: int = 0


@dataclass(eq=False)
class Playing:
    """A file that plays."""

    publication: Publication
    task: asyncio.Task[None]
    idle_since_s: float | None = None

    def end(self) -> None:
        self.task.cancel()
        self.publication.publisher = None


@dataclass(frozen=True, slots=True)
class Bounds:
    viewers: int = 500
    cameras: int = 200
    raw: bool = True
    keep_camera_s: float = 600.0


@dataclass(eq=False)
class VideoService:
    """`run` is its duty; `drained` ends every peer when the relay stops."""

    media: MediaFolder
    network: Network
    metrics: Metrics
    recordings: Recordings
    bounds: Bounds = field(default_factory=Bounds)
    elsewhere: Elsewhere | None = None

    def __post_init__(self) -> None:
        self._watching: dict[str, Watching] = {}
        self._cameras: dict[str, Camera] = {}
        self._files: dict[str, Playing] = {}
        self._answering = 0
        self._ending: set[asyncio.Task[None]] = set()

    # -- watching ----------------------------------------------------------------------------------------------------

    async def source(self, wish: Wish) -> Publication:
        """What the wish means now. SourceMissing for a file, NotFound for a camera that is not there."""
        if wish.video_path is None:
            if self.elsewhere is not None and not self.holds(wish):
                await self.elsewhere.bring(wish)
            camera = self._camera(wish)
            if camera is not None:
                return camera.publication
        return await self._file(wish.video_path)

    async def sample(self) -> Publication:
        return await self._file(None)

    async def watch(
        self, sdp: str, publication: Publication, subject: str, bound: str | None = None
    ) -> tuple[str, str]:
        """A viewer's session: its id and the answer. BadOffer, or Full when there are too many."""
        if len(self._watching) + self._answering >= self.bounds.viewers:
            raise Full("This relay shows video to as many viewers as it may; try again later")
        began = time.monotonic()
        self._answering += 1
        try:
            viewer, answer = await answer_viewer(sdp, publication, self.network, self.metrics, raw=self.bounds.raw)
        except RelayError:
            self.metrics.video_offers.labels("refused").inc()
            raise
        finally:
            self._answering -= 1
        session = str(uuid.uuid4())
        began_s = asyncio.get_running_loop().time()
        watching = Watching(session, viewer, subject, began_s, self._let_out, bound)
        self._watching[session] = watching
        self.metrics.video_viewers.set(len(self._watching))
        self.metrics.video_offers.labels("answered").inc()
        self.metrics.video_answer_seconds.observe(time.monotonic() - began)
        viewer.peer.on("connectionstatechange", lambda: self._state_changed(watching))
        log.info("video_watched", session=session, source=publication.name, subject=subject)
        return session, answer

    def sessions(self, subject: str | None = None) -> list[str]:
        """Ids of all viewers' sessions, or of this subject's."""
        return [one.id for one in self._watching.values() if subject is None or one.subject == subject]

    def session(self, session: str) -> Watching:
        found = self._watching.get(session)
        if found is None:
            raise SessionNotFound(f"Session {session} not found")
        return found

    async def close(self, session: str) -> int:
        """End a viewer's session; how many remain."""
        found = self.session(session)
        self._forget(found)
        await found.viewer.end()
        return len(self._watching)

    # -- publishing --------------------------------------------------------------------------------------------------

    async def publish(self, sdp: str, kit: str, session: str | None) -> tuple[str, str]:
        """A kit's camera begins: its id and the answer. Whoever sent for this kit before is let go."""
        if kit not in self._cameras and len(self._cameras) >= self.bounds.cameras:
            raise Full("This relay takes as many cameras as it may; try again later")
        publisher, answer = await answer_publisher(
            sdp, lambda codec: self._place(kit, codec, session).publication, self.network
        )
        camera = self._begin(kit, publisher)
        log.info("video_published", kit=kit, codec=publisher.publication.codec)
        return camera.id, answer

    def place(self, kit: str, codec: str, session: str | None) -> Publication:
        """Where a camera that sends to another relay is shown here; `take_in` begins it."""
        return self._place(kit, codec, session).publication

    def take_in(self, kit: str, publisher: PublisherPeer) -> Camera:
        return self._begin(kit, publisher)

    def give_up(self, camera: Camera, publisher: PublisherPeer) -> None:
        """It sends here no more; its viewers wait for it to come back."""
        self._let_go(camera, publisher)
        self._end_soon(publisher)

    def holds(self, wish: Wish) -> bool:
        """Whether what is meant sends here now."""
        live = [one for one in self._cameras.values() if one.publisher is not None]
        return any(wish.kit in (None, one.kit) and wish.session in (None, one.publication.session) for one in live)

    def _begin(self, kit: str, publisher: PublisherPeer) -> Camera:
        camera = self._cameras[kit]
        before, camera.publisher = camera.publisher, publisher
        camera.id, camera.since_ms = str(uuid.uuid4()), time.time_ns() // 1_000_000
        camera.began_s = publisher.heard_s = asyncio.get_running_loop().time()
        publisher.publication.attach(publisher)
        publisher.peer.on("connectionstatechange", lambda: self._publisher_changed(camera, publisher))
        if before is not None:
            self._end_soon(before)
        self._count_cameras()
        return camera

    async def unpublish(self, kit: str, publishing: str) -> None:
        camera = self._cameras.get(kit)
        if camera is None or camera.publisher is None or camera.id != publishing:
            raise NotFound(f"Kit {kit} does not publish that")
        publisher = camera.publisher
        self._let_go(camera, publisher)
        await publisher.end()

    def cameras(self) -> list[Camera]:
        return [camera for camera in self._cameras.values() if camera.publisher or camera.publication.legs]

    def own_cameras(self) -> list[Camera]:
        """Those that send to this very relay."""
        return [one for one in self.cameras() if self.elsewhere is None or not self.elsewhere.brought(one.kit)]

    def camera(self, kit: str) -> Camera:
        found = self._cameras.get(kit)
        if found is None:
            raise NotFound(f"Kit {kit[:64]} sends no video. It may be off, or its patient shows none")
        return found

    # -- upkeep ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Forget for ever those that went without a word."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self._sweep(asyncio.get_running_loop().time())

    async def drained(self) -> None:
        """End every peer and file."""
        await self.recordings.end_all()
        for playing in self._files.values():
            playing.end()
        ends = [one.viewer.end() for one in self._watching.values()]
        ends += [camera.publisher.end() for camera in self._cameras.values() if camera.publisher]
        self._watching.clear()
        self._cameras.clear()
        await asyncio.gather(*ends, *self._ending, return_exceptions=True)

    def _sweep(self, now_s: float) -> None:
        for watching in list(self._watching.values()):
            state = watching.viewer.peer.connectionState
            late = state in ("new", "connecting") and now_s - watching.began_s > CONNECT_WITHIN_S
            silent = state == "connected" and now_s - max(watching.viewer.leg.heard_s, watching.began_s) > SILENT_S
            if late or silent or state in ("failed", "closed"):
                self._let_out(watching)
        for camera in list(self._cameras.values()):
            self._sweep_camera(camera, now_s)
        for name, playing in list(self._files.items()):
            self._sweep_file(name, playing, now_s)

    def _sweep_camera(self, camera: Camera, now_s: float) -> None:
        publication, publisher = camera.publication, camera.publisher
        self.metrics.video_packets.labels("in").inc(publication.packets - camera.counted)
        camera.counted = publication.packets
        if publisher is not None:
            publisher.greet()
        if publisher is not None and now_s - publisher.heard_s > PUBLISHER_SILENT_S:
            self.give_up(camera, publisher)
        if camera.publisher is None and not publication.legs and now_s - camera.gone_s > self.bounds.keep_camera_s:
            self._cameras.pop(camera.kit, None)

    def _sweep_file(self, name: str, playing: Playing, now_s: float) -> None:
        used = playing.publication.legs or self._answering
        playing.idle_since_s = None if used else playing.idle_since_s or now_s
        if playing.task.done() or (playing.idle_since_s and now_s - playing.idle_since_s > FILE_LINGERS_S):
            playing.end()
            self._files.pop(name, None)

    def _camera(self, wish: Wish) -> Camera | None:
        if wish.kit is not None:
            return self.camera(wish.kit)
        live = [one for one in self._cameras.values() if one.publisher is not None]
        if wish.session is not None:
            found = next((one for one in self._cameras.values() if one.publication.session == wish.session), None)
            if found is None:
                raise NotFound("No camera belongs to this session now")
            return found
        return max(live, key=lambda camera: camera.began_s, default=None)

    def _place(self, kit: str, codec: str, session: str | None) -> Camera:
        """The kit's place, with its viewers; a new one where the codec is another, which they cannot follow."""
        camera = self._cameras.get(kit)
        if camera is None or camera.publication.codec != codec:
            if camera is not None:
                for watching in self._watching_of(camera.publication):
                    self._let_out(watching)
            publication = Publication(f"kit:{kit}", codec, self.metrics, kit=kit, session=session)
            publisher = camera.publisher if camera is not None else None
            camera = self._cameras[kit] = Camera(kit, publication, publisher)
        camera.publication.session = session
        for watching in self._watching_of(camera.publication):
            if watching.bound not in (None, session):
                self._let_out(watching)
        return camera

    def _watching_of(self, publication: Publication) -> list[Watching]:
        return [one for one in self._watching.values() if one.viewer.publication is publication]

    async def _file(self, name: str | None) -> Publication:
        if name in (None, SAMPLE):
            await self.media.prepare()
        path = self.media.find(name)
        await asyncio.to_thread(ensure_video, path)
        key = path.name if name is None else name
        playing = self._files.get(key)
        if playing is None or playing.task.done():
            publication = Publication(f"file:{key}", "H264", self.metrics)
            publisher = FilePublisher(path, publication)
            publication.attach(publisher)
            playing = self._files[key] = Playing(
                publication, asyncio.create_task(publisher.play(), name=f"plays {key}")
            )
        return playing.publication

    def _state_changed(self, watching: Watching) -> None:
        if watching.viewer.peer.connectionState in ("failed", "closed"):
            self._let_out(watching)

    def _let_out(self, watching: Watching) -> None:
        self._forget(watching)
        self._end_soon(watching.viewer)

    def _publisher_changed(self, camera: Camera, publisher: PublisherPeer) -> None:
        if publisher.peer.connectionState in ("failed", "closed"):
            self.give_up(camera, publisher)

    def _let_go(self, camera: Camera, publisher: PublisherPeer) -> None:
        if camera.publisher is publisher:
            camera.publisher, camera.gone_s = None, asyncio.get_running_loop().time()
            publisher.publication.detach(publisher)
            self._count_cameras()
            log.info("video_publisher_gone", kit=camera.kit)

    def _forget(self, watching: Watching) -> None:
        if self._watching.pop(watching.id, None) is not None:
            leg = watching.viewer.leg
            self.metrics.video_packets.labels("out").inc(leg.sent)
            self.metrics.video_viewers.set(len(self._watching))
            log.info("video_left", session=watching.id, packets=leg.sent, repaired=leg.repaired, skipped=leg.skipped)

    def _count_cameras(self) -> None:
        self.metrics.video_publications.set(sum(one.publisher is not None for one in self._cameras.values()))

    def _end_soon(self, peer: Any) -> None:
        task = asyncio.ensure_future(peer.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
