"""Forwards every camera that sends to this relay, by WHIP (RFC 9725), to a media server that shows it to many viewers.

One stream per camera, made of the kit's own packets. If the server is unreachable it is tried again at growing
intervals; when a camera stops, the server is told. The server itself decides who may watch there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin

import structlog

from relay.errors import BadOffer, Full
from relay.process.metrics import Metrics
from relay.video.cameras.places import Camera
from relay.video.offers import hand_to
from relay.video.peers import Network, Viewer
from relay.video.publication import Publication

if TYPE_CHECKING:
    import httpx2

LOOK_EVERY_S = 0.5
RETRY_FIRST_S, RETRY_MOST_S = 1.0, 30.0
ANSWER_WITHIN_S = 5.0
CONNECT_WITHIN_S = 15.0
SILENT_S = 15.0
"""Seconds without a report after which the server counts as gone."""
SDP = "application/sdp"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Server:
    """The media server. `whip` and `whep` are its URLs with {kit} in them; `token` is its bearer token for
    publishing.
    """

    whip: str
    whep: str = ""
    token: str = ""

    def whip_of(self, kit: str) -> str:
        return self.whip.replace("{kit}", quote(kit))

    def whep_of(self, kit: str) -> str:
        return self.whep.replace("{kit}", quote(kit))


@dataclass(eq=False)
class _Handed:
    publication: Publication
    viewer: Viewer | None = None
    resource: str = ""
    began_s: float = 0.0
    due_s: float = 0.0
    pause_s: float = RETRY_FIRST_S
    asking: asyncio.Task[None] | None = None


@dataclass(eq=False)
class HandOff:
    """Runs as the duty `run`. `cameras` gives those that send to this relay, each with a publisher."""

    server: Server
    cameras: Callable[[], list[Camera]]
    network: Network
    metrics: Metrics
    raw: bool = True
    _handed: dict[str, _Handed] = field(default_factory=dict)

    async def run(self) -> None:
        import httpx2

        async with httpx2.AsyncClient(timeout=ANSWER_WITHIN_S, follow_redirects=True, trust_env=False) as http:
            try:
                while True:
                    await self._look(http)
                    await asyncio.sleep(LOOK_EVERY_S)
            finally:
                for kit in list(self._handed):
                    await self._end(http, kit)

    async def _look(self, http: httpx2.AsyncClient) -> None:
        now_s = asyncio.get_running_loop().time()
        there = {one.kit: one.publication for one in self.cameras() if one.publisher is not None}
        for kit, handed in list(self._handed.items()):
            if there.get(kit) is not handed.publication:
                await self._end(http, kit)
            elif handed.viewer is not None and _lost(handed, now_s):
                await self._drop(http, handed)
                self._later(kit, handed, "the server is not there any more")
        for kit, publication in there.items():
            handed = self._handed.setdefault(kit, _Handed(publication))
            if handed.viewer is None and handed.asking is None and now_s >= handed.due_s:
                handed.asking = asyncio.create_task(self._begin(http, kit, handed))
        self.metrics.video_handed.set(sum(one.viewer is not None for one in self._handed.values()))

    async def _begin(self, http: httpx2.AsyncClient, kit: str, handed: _Handed) -> None:
        async def ask(sdp: str) -> str:
            headers = {"Content-Type": SDP}
            if self.server.token:
                headers["Authorization"] = f"Bearer {self.server.token}"
            url = self.server.whip_of(kit)
            answer = await http.post(url, content=sdp, headers=headers)
            if answer.status_code != 201:
                raise Full(f"it answered {answer.status_code}")
            handed.resource = urljoin(str(answer.url), answer.headers.get("location", ""))
            return str(answer.text)

        import httpx2

        try:
            handed.viewer = await hand_to(ask, handed.publication, self.network, self.metrics, raw=self.raw)
        except (httpx2.HTTPError, BadOffer, Full, TimeoutError) as error:
            self._later(kit, handed, str(error) or type(error).__name__)
        else:
            handed.began_s, handed.pause_s = asyncio.get_running_loop().time(), RETRY_FIRST_S
            log.info("camera_handed_on", kit=kit)
        finally:
            handed.asking = None

    def _later(self, kit: str, handed: _Handed, why: str) -> None:
        pause = handed.pause_s * (0.5 + random.random())  # noqa: S311 - jitter, not a secret
        handed.due_s = asyncio.get_running_loop().time() + pause
        handed.pause_s = min(handed.pause_s * 2, RETRY_MOST_S)
        log.warning("camera_not_handed_on", kit=kit, reason=why, retry_s=round(pause, 1))

    async def _end(self, http: httpx2.AsyncClient, kit: str) -> None:
        handed = self._handed.pop(kit)
        if handed.asking is not None:
            handed.asking.cancel()
            await asyncio.wait([handed.asking])
        if handed.viewer is not None:
            await self._drop(http, handed)
            log.info("camera_handed_no_more", kit=kit)

    async def _drop(self, http: httpx2.AsyncClient, handed: _Handed) -> None:
        import httpx2

        viewer, handed.viewer = handed.viewer, None
        headers: dict[str, Any] = {"Authorization": f"Bearer {self.server.token}"} if self.server.token else {}
        if viewer is not None:
            await viewer.end()
        if handed.resource:
            try:
                await http.delete(handed.resource, headers=headers)
            except httpx2.HTTPError as error:
                log.info("server_not_told", reason=str(error) or type(error).__name__)


def _lost(handed: _Handed, now_s: float) -> bool:
    assert handed.viewer is not None
    state = handed.viewer.peer.connectionState
    late = state in ("new", "connecting") and now_s - handed.began_s > CONNECT_WITHIN_S
    silent = state == "connected" and now_s - max(handed.viewer.leg.heard_s, handed.began_s) > SILENT_S
    return late or silent or state in ("failed", "closed")
