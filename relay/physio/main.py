"""Construction of the physiotherapy API: sessions, frames, videos and patients' records in one application."""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import HTTPConnection

from relay.accounts.routes import bearer
from relay.auth import Tokens, load_secret
from relay.clock import Clock
from relay.entrance.ports import base_url
from relay.envelopes import Limiter, Reception
from relay.errors import Unauthorized
from relay.ground import Ground, Part, Root
from relay.physio.frames.store import FrameStore
from relay.physio.links import Links
from relay.physio.live.gateway import TYPES, FramesGateway
from relay.physio.live.routes import add_live
from relay.physio.live.service import LiveService
from relay.physio.live.store import LiveStore
from relay.physio.records.service import Records
from relay.physio.records.store import RecordStore
from relay.physio.routes import application, is_stream
from relay.physio.sealing import Seal
from relay.physio.service import PhysioService
from relay.physio.store import PhysioStore
from relay.physio.video.gateway import Shelf, VideoBucket, VideoFolder
from relay.physio.video.service import Videos
from relay.physio.video.spool import Spool
from relay.physio.video.store import UploadStore
from relay.settings import RelaySettings

log = structlog.get_logger(__name__)


def sign_in_tokens(settings: RelaySettings, secret: bytes) -> Tokens:
    """Signs and reads the access tokens: with the configured secret, or else with the relay's own."""
    return Tokens(settings.physio.jwt_secret.encode() or secret)


def open_physio(ground: Ground) -> Part:
    chosen, window_s = ground.settings.physio, max(1, ground.settings.physio.window_ms // 1000)
    videos = videos_of(ground.settings, ground.engine, ground.clock, ground.secret)
    frames = FrameStore(ground.engine)
    service = PhysioService(
        PhysioStore(ground.engine),
        frames,
        videos,
        _seal(ground.settings),
        ground.clock.now_ms,
        consent_required=chosen.consent_required,
    )
    records = records_of(ground.settings, ground.engine, ground.clock, videos)
    attempts = Limiter(chosen.failed_sign_ins, window_s)
    tokens = sign_in_tokens(ground.settings, ground.secret)

    def links_begin(connection: HTTPConnection) -> str:
        return _links_begin(connection, ground.settings.public_url)

    app = application(service, ground.accounts, videos, records, links_begin, attempts, chosen.cors_origins)
    live = _live(ground, service, frames)
    add_live(app, live, ground.accounts, ground.access)
    reception = Reception(
        app,
        sender=lambda connection: _sender(connection, tokens, ground.clock),
        streams=is_stream,
        limiter=Limiter(chosen.requests, window_s),
        streaming=Limiter(chosen.stream_requests, window_s),
    )
    duties = {"uploads": videos.sweep_for_ever, "pose_frames": live.store_for_ever, "watching": live.check_for_ever}
    return Part("physio", reception, root=Root.CARE, base="/api", duties=duties, drained=live.drained)


def _live(ground: Ground, service: PhysioService, frames: FrameStore) -> LiveService:
    """Live exercises: the kits' frames and status arrive through the switchboard, and commands go out through it."""
    live = LiveService(
        LiveStore(ground.engine),
        frames,
        service,
        ground.kits.command,
        ground.clock.now_ms,
        lambda dropped: ground.metrics.frames_dropped.inc(dropped),
        consent_required=ground.settings.physio.consent_required,
    )
    ground.kits.answer(TYPES, FramesGateway(live).take)
    ground.kits.listen_status(live.heard)
    return live


def videos_of(settings: RelaySettings, engine: AsyncEngine, clock: Clock, secret: bytes) -> Videos:
    chosen, folder = settings.physio, settings.data / "videos"
    return Videos(
        UploadStore(engine),
        Spool(folder, chosen.video_bytes),
        _shelf(settings),
        Links(secret),
        clock.now_ms,
        timedelta(hours=chosen.link_hours),
        consent_required=chosen.consent_required,
    )


def records_of(settings: RelaySettings, engine: AsyncEngine, clock: Clock, videos: Videos) -> Records:
    made_in = settings.data / "exports"
    return Records(RecordStore(engine), FrameStore(engine), videos, _seal(settings), clock.now_ms, made_in)


def _seal(settings: RelaySettings) -> Seal:
    return Seal(settings.physio.encryption_key.encode() or load_secret(settings.data / "encryption.key"))


def _shelf(settings: RelaySettings) -> Shelf:
    """The bucket if it is configured together with its keys; otherwise videos stay in the data folder, which is
    logged.
    """
    storage = settings.storage
    if storage.bucket and storage.access_key:
        keys = (storage.access_key, storage.secret_key)
        log.info("videos_in_bucket", bucket=storage.bucket, endpoint=storage.endpoint)
        return VideoBucket(storage.bucket, storage.prefix, endpoint=storage.endpoint, region=storage.region, keys=keys)
    if storage.bucket:
        log.warning("videos_stay_in_data_folder", reason="storage.bucket is named without access_key and secret_key")
    return VideoFolder(settings.data / "videos")


def _sender(connection: HTTPConnection, tokens: Tokens, clock: Clock) -> str:
    """Key for rate limiting: the token's subject, or the client's address when there is no valid token."""
    try:
        return tokens.read(bearer(connection), now_s=clock.now_ms() / 1000).subject
    except Unauthorized:
        return connection.client.host if connection.client else ""


def _links_begin(connection: HTTPConnection, public_url: str) -> str:
    """Base URL of the physiotherapy API as the client reaches it; below a configured public URL it keeps its prefix."""
    base = base_url(connection, public_url)
    prefix = str(connection.scope.get("root_path", ""))
    return f"{base}{prefix or '/physio'}" if public_url else f"{base}{prefix}"
