"""Physiotherapy put together: accounts, sessions, frames and videos behind one reception."""

from __future__ import annotations

from datetime import timedelta

from starlette.requests import HTTPConnection

from relay.accounts.routes import bearer
from relay.auth import Tokens, load_secret
from relay.envelopes import Limiter, Reception
from relay.errors import Unauthorized
from relay.ground import Ground, Part, Root
from relay.physio.frames.store import FrameStore
from relay.physio.links import Links
from relay.physio.routes import application, is_stream
from relay.physio.sealing import Seal
from relay.physio.service import PhysioService
from relay.physio.store import PhysioStore
from relay.physio.video.gateway import VideoFolder
from relay.physio.video.service import Videos
from relay.physio.video.store import UploadStore
from relay.ports import base_url
from relay.settings import RelaySettings


def sign_in_tokens(settings: RelaySettings, secret: bytes) -> Tokens:
    """What signs those who sign in: the configured secret, else the relay's own."""
    return Tokens(settings.physio.jwt_secret.encode() or secret)


def open_physio(ground: Ground) -> Part:
    chosen, window_s = ground.settings.physio, max(1, ground.settings.physio.window_ms // 1000)
    videos = _videos(ground)
    service = PhysioService(
        PhysioStore(ground.engine),
        FrameStore(ground.engine),
        videos,
        Seal(chosen.encryption_key.encode() or load_secret(ground.settings.data / "encryption.key")),
        ground.clock.now_ms,
        consent_required=chosen.consent_required,
    )
    attempts = Limiter(chosen.failed_sign_ins, window_s)

    def links_begin(connection: HTTPConnection) -> str:
        return _links_begin(connection, ground.settings.public_url)

    app = application(service, ground.accounts, videos, links_begin, attempts, chosen.cors_origins)
    reception = Reception(
        app,
        sender=lambda connection: _sender(connection, ground),
        streams=is_stream,
        limiter=Limiter(chosen.requests, window_s),
        streaming=Limiter(chosen.stream_requests, window_s),
    )
    return Part("physio", reception, root=Root.CARE, base="/api")


def _videos(ground: Ground) -> Videos:
    chosen = ground.settings.physio
    return Videos(
        UploadStore(ground.engine),
        VideoFolder(ground.settings.data / "videos", chosen.video_bytes),
        Links(ground.secret),
        ground.clock.now_ms,
        timedelta(hours=chosen.link_hours),
        consent_required=chosen.consent_required,
    )


def _sender(connection: HTTPConnection, ground: Ground) -> str:
    """Whose requests are counted together: a bearer's, else an address's."""
    tokens = sign_in_tokens(ground.settings, ground.secret)
    try:
        return tokens.read(bearer(connection), now_s=ground.clock.now_ms() / 1000).subject
    except Unauthorized:
        return connection.client.host if connection.client else ""


def _links_begin(connection: HTTPConnection, public_url: str) -> str:
    """Where the physiotherapy API stands for whoever asks; a public base has it under its prefix."""
    base = base_url(connection, public_url)
    prefix = str(connection.scope.get("root_path", ""))
    return f"{base}{prefix or '/physio'}" if public_url else f"{base}{prefix}"
