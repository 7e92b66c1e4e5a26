"""A camera that sends to one relay can be watched through any other, with one stream between the two relays.

Every relay announces which cameras send to it. One that sends elsewhere is brought here once, by a WebRTC connection
between the relays, when somebody wants to watch it. It stays while it is watched, and is brought again when the camera
moves to another relay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from relay.cluster import subjects
from relay.cluster.link import Link
from relay.errors import BadOffer, Full, RelayError
from relay.process.metrics import Metrics
from relay.video.cameras.places import Camera, Wish
from relay.video.offers import take_from
from relay.video.peers import PublisherPeer
from relay.video.service import VideoService

EVERY_S = 0.5
ANSWER_WITHIN_S = 4.0
LINGERS_S = 5.0
"""A camera nobody watches here any more is kept this long, so that a page that is reloaded still finds it."""

log = structlog.get_logger(__name__)


class Sent(msgspec.Struct, frozen=True):
    """A camera, as announced by the relay it sends to."""

    kit: str
    session: str | None
    codec: str
    level: str
    viewers: int
    since_ms: int

    def line(self) -> dict[str, Any]:
        return {**msgspec.to_builtins(self), "live": True}


class _Said(msgspec.Struct):
    relay: str
    cameras: list[Sent]


class _Asked(msgspec.Struct):
    relay: str
    kit: str
    sdp: str


class _Answer(msgspec.Struct):
    sdp: str = ""
    error: str = ""


@dataclass(eq=False)
class _Brought:
    camera: Camera
    publisher: PublisherPeer
    relay: str
    idle_since_s: float | None = None


class RelayedCameras:
    """Implements relay.video.service.Elsewhere. `run` is its duty; `gone` gets the name of a relay that left."""

    def __init__(self, link: Link, service: VideoService, metrics: Metrics) -> None:
        self._link, self._service, self._metrics = link, service, metrics
        self._elsewhere: dict[str, list[Sent]] = {}
        self._brought: dict[str, _Brought] = {}
        self._coming: dict[str, asyncio.Task[None]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._said: list[Sent] | None = None

    def sent(self) -> list[Sent]:
        return [one for cameras in self._elsewhere.values() for one in cameras]

    def brought(self, kit: str) -> bool:
        return kit in self._brought

    async def bring(self, wish: Wish) -> None:
        """Bring the camera here. Full when another relay has it and it could not be brought: worth trying again."""
        found = max(self._meant(wish), key=lambda one: one[1].since_ms, default=None)
        if found is not None:
            await asyncio.shield(self._come(*found))

    async def run(self) -> None:
        await self._link.hear(subjects.CAMERAS, self._heard)
        await self._link.hear(subjects.video(self._link.name), self._asked)
        while True:
            self._tell()
            now_s = asyncio.get_running_loop().time()
            for kit, brought in list(self._brought.items()):
                self._look(kit, brought, now_s)
            for camera in self._service.cameras.shown():
                self._find_again(camera)
            self._metrics.video_relayed.set(len(self._brought))
            await asyncio.sleep(EVERY_S)

    def gone(self, relay: str) -> None:
        self._elsewhere.pop(relay, None)
        for kit, brought in list(self._brought.items()):
            if brought.relay == relay:
                self._let_go(kit, brought)

    # -- which camera sends where ----------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Announce the cameras each time while any send here, and once more when the last has ended."""
        own = [
            Sent(
                one.kit,
                one.publication.session,
                one.publication.codec,
                one.publication.level,
                len(one.publication.legs),
                one.since_ms,
            )
            for one in self._service.cameras.shown()
            if one.publisher is not None and one.kit not in self._brought
        ]
        if own or self._said is None or self._said:
            self._link.say(subjects.CAMERAS, msgspec.json.encode(_Said(self._link.name, own)))
        self._said = own

    async def _heard(self, message: Msg) -> None:
        said = msgspec.json.decode(message.data, type=_Said)
        self._elsewhere[said.relay] = said.cameras

    def _meant(self, wish: Wish) -> Iterator[tuple[str, Sent]]:
        for relay, cameras in self._elsewhere.items():
            for one in cameras:
                if wish.kit in (None, one.kit) and wish.session in (None, one.session):
                    yield relay, one

    # -- bringing one here -----------------------------------------------------------------------------------------

    def _come(self, relay: str, sent: Sent) -> asyncio.Task[None]:
        task = self._coming.get(sent.kit)
        if task is None:
            task = self._coming[sent.kit] = asyncio.create_task(self._take_in(relay, sent))
            task.add_done_callback(lambda done: self._came(sent.kit, done))
        return task

    def _came(self, kit: str, task: asyncio.Task[None]) -> None:
        self._coming.pop(kit, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("camera_not_brought", kit=kit, error=str(error))

    async def _take_in(self, relay: str, sent: Sent) -> None:
        async def ask(sdp: str) -> str:
            wanted = msgspec.json.encode(_Asked(self._link.name, sent.kit, sdp))
            try:
                reply = await self._link.client.request(subjects.video(relay), wanted, timeout=ANSWER_WITHIN_S)
            except (NatsError, TimeoutError) as error:
                raise Full(f"The relay that has the camera of {sent.kit} does not answer") from error
            answer = msgspec.json.decode(reply.data, type=_Answer)
            if answer.error:
                raise Full(answer.error)
            return answer.sdp

        def place() -> Any:
            return self._service.cameras.place(sent.kit, sent.codec, sent.session)

        try:
            publisher = await take_from(ask, place, sent.codec, self._service.network)
        except (BadOffer, TimeoutError) as error:
            raise Full(f"The camera of {sent.kit} cannot be brought from its relay: {error}") from error
        publisher.publication.level = sent.level
        self._brought[sent.kit] = _Brought(self._service.cameras.take_in(sent.kit, publisher), publisher, relay)
        log.info("camera_brought", kit=sent.kit, relay=relay)

    async def _asked(self, message: Msg) -> None:
        """Another relay wants a camera. Answered in a task of its own, because making the answer takes time."""
        self._beside(self._answer(message))

    async def _answer(self, message: Msg) -> None:
        asked = msgspec.json.decode(message.data, type=_Asked)
        try:
            camera = self._service.cameras.of(asked.kit)
            if asked.kit in self._brought:
                raise Full(f"The camera of {asked.kit} sends to another relay now")
            _, sdp = await self._service.viewers.watch(asked.sdp, camera.publication, f"relay {asked.relay}")
            answer = _Answer(sdp=sdp)
        except RelayError as error:
            answer = _Answer(error=str(error))
        await message.respond(msgspec.json.encode(answer))

    # -- upkeep ----------------------------------------------------------------------------------------------------

    def _look(self, kit: str, brought: _Brought, now_s: float) -> None:
        """Keep a camera that is watched and still sends to the same relay; let go of any other."""
        publication = brought.camera.publication
        if brought.camera.publisher is not brought.publisher:
            self._brought.pop(kit)
            return
        used = publication.legs or publication.listeners
        brought.idle_since_s = None if used else brought.idle_since_s or now_s
        idle = brought.idle_since_s is not None and now_s - brought.idle_since_s > LINGERS_S
        if idle or not any(one.kit == kit for one in self._elsewhere.get(brought.relay, ())):
            self._let_go(kit, brought)

    def _find_again(self, camera: Camera) -> None:
        """Bring a camera again whose viewers wait because it now sends to another relay."""
        found = next(self._meant(Wish(kit=camera.kit)), None)
        if camera.publisher is None and found is not None and found[1].codec == camera.publication.codec:
            self._come(*found)

    def _let_go(self, kit: str, brought: _Brought) -> None:
        self._brought.pop(kit, None)
        if brought.camera.publisher is brought.publisher:
            self._service.cameras.give_up(brought.camera, brought.publisher)
            log.info("camera_let_go", kit=kit, relay=brought.relay)

    def _beside(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
