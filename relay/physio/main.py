"""Physiotherapy put together: accounts, sessions, frames and videos upon one database, behind one reception."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import HTTPConnection

from relay.accounts.passwords import Passwords
from relay.accounts.routes import bearer
from relay.accounts.service import Accounts, Lifetimes
from relay.accounts.store import AccountStore
from relay.auth import Tokens, load_secret
from relay.clock import Clock
from relay.envelopes import Limiter, Reception
from relay.errors import Unauthorized
from relay.physio.frames.store import FrameStore
from relay.physio.links import Links
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


@dataclass(frozen=True, slots=True)
class Physio:
    """`reception` serves the API; `service` takes what kits send; `videos` has a duty of its own."""

    reception: Reception
    service: PhysioService
    videos: Videos
    records: Records


def put_together(
    settings: RelaySettings,
    engine: AsyncEngine,
    clock: Clock,
    passwords: Passwords,
    secret: bytes,
    base: Callable[[HTTPConnection], str],
) -> Physio:
    """`base`: where the API's links begin for whoever asks."""
    chosen = settings.physio
    videos = videos_of(settings, engine, clock, secret)
    seal = seal_of(settings)
    store, frames = PhysioStore(engine), FrameStore(engine)
    required = chosen.consent_required
    service = PhysioService(store, frames, videos, seal, clock.now_ms, consent_required=required)
    records = records_of(settings, engine, clock, videos, seal)
    tokens = Tokens(chosen.jwt_secret.encode() or secret)
    lifetimes = Lifetimes(chosen.access_hours * 3600, chosen.refresh_days * 86_400)
    accounts = Accounts(AccountStore(engine), passwords, tokens, lifetimes, clock.now_ms)
    window_s = max(1, chosen.window_ms // 1000)
    attempts = Limiter(chosen.failed_sign_ins, window_s)
    app = application(service, accounts, videos, records, base, attempts, chosen.cors_origins)

    def sender(connection: HTTPConnection) -> str:
        try:
            return tokens.read(bearer(connection), now_s=clock.now_ms() / 1000).subject
        except Unauthorized:
            return connection.client.host if connection.client else ""

    limiter, streaming = Limiter(chosen.requests, window_s), Limiter(chosen.stream_requests, window_s)
    reception = Reception(app, sender=sender, streams=is_stream, limiter=limiter, streaming=streaming)
    return Physio(reception, service, videos, records)


def seal_of(settings: RelaySettings) -> Seal:
    return Seal(settings.physio.encryption_key.encode() or load_secret(settings.data / "encryption.key"))


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


def records_of(settings: RelaySettings, engine: AsyncEngine, clock: Clock, videos: Videos, seal: Seal) -> Records:
    return Records(RecordStore(engine), FrameStore(engine), videos, seal, clock.now_ms, settings.data / "exports")


def _shelf(settings: RelaySettings) -> Shelf:
    """The bucket, where one is named with its keys; else videos stay in the data folder, and that is said."""
    storage = settings.storage
    if storage.bucket and storage.access_key:
        keys = (storage.access_key, storage.secret_key)
        log.info("videos_in_bucket", bucket=storage.bucket, endpoint=storage.endpoint)
        return VideoBucket(storage.bucket, storage.prefix, endpoint=storage.endpoint, region=storage.region, keys=keys)
    if storage.bucket:
        log.warning("videos_stay_in_data_folder", reason="storage.bucket is named without access_key and secret_key")
    return VideoFolder(settings.data / "videos")
