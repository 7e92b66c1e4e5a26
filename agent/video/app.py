"""Builds the video publisher from the settings, if a relay for it is set."""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path

from aiortc import RTCIceServer

from agent.errors import VideoError
from agent.settings import AgentSettings
from agent.sources.slot import Slot
from agent.video.camera import Gate
from agent.video.publisher import Target, VideoPublisher


def build_video(settings: AgentSettings, slot: Slot, gate: Gate) -> VideoPublisher | None:
    """The publisher, or None when no relay is to show the camera."""
    target = target_of(settings)
    return VideoPublisher(slot, gate, target) if target is not None else None


def target_of(settings: AgentSettings) -> Target | None:
    chosen = settings.video
    if not chosen.relay:
        return None
    servers = [
        RTCIceServer(urls=one.url, username=one.username or None, credential=one.password.get_secret_value() or None)
        for one in chosen.ice_servers
    ]
    return Target(
        f"{chosen.relay}/video/api/whip/{settings.kit}",
        partial(_token, settings),
        _trust(settings) if chosen.relay.startswith("https") else None,
        chosen.codec,
        chosen.most_kbps * 1000,
        settings.source.camera.fps,
        servers,
    )


def _token(settings: AgentSettings) -> str | None:
    """The token, read again for each connection, so that a new one needs no restart."""
    if settings.video.token_file is None:
        return settings.broker.login(settings.kit)[1]
    return _first_line(settings.video.token_file)


def _first_line(path: Path) -> str:
    try:
        return path.read_text().split("\n", 1)[0].strip()
    except OSError as error:
        raise VideoError(f"video.token_file: cannot read {path}: {error.strerror}") from None


def _trust(settings: AgentSettings) -> ssl.SSLContext:
    """The same authority and certificate that the kit uses towards its broker."""
    tls = settings.broker.tls
    context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
    if tls.cert is not None and tls.key is not None:
        context.load_cert_chain(tls.cert, tls.key)
    return context
