"""The relay's video put together from its settings, for relay/main.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import FastAPI

from relay.access import Access
from relay.metrics import Metrics
from relay.settings import RelaySettings
from relay.video.gateway import MediaFolder
from relay.video.peers import Network
from relay.video.routes import application
from relay.video.service import Bounds, VideoService
from relay.viewer.documentation import reference


@dataclass(frozen=True, slots=True)
class Video:
    """The application, what it has to do all the time, and its orderly end."""

    app: FastAPI
    duties: dict[str, Callable[[], Awaitable[None]]]
    drained: Callable[[], Awaitable[None]]


def open_video(settings: RelaySettings, access: Access, metrics: Metrics) -> Video:
    chosen = settings.video
    media = MediaFolder(chosen.media or settings.data / "media")
    servers = [(one.url, one.username, one.password.get_secret_value()) for one in chosen.ice_servers]
    network = Network(servers, chosen.gather_ms / 1000)
    bounds = Bounds(viewers=chosen.viewers, cameras=chosen.cameras, raw=chosen.forward == "packets")
    service = VideoService(media, network, metrics, bounds)
    return Video(application(service, access, reference), {"video": service.run}, service.drained)
