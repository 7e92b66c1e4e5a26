"""Upload links, uploads and playback links of sessions' videos. Knows neither the web nor the database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from relay.errors import Conflict, ConsentMissing, NotFound
from relay.physio.links import Links
from relay.physio.rules import links_expire
from relay.physio.video.gateway import VideoFolder
from relay.physio.video.store import UploadStore

UPLOAD, PLAY = "upload", "play"
DEFAULT_TYPE = "video/mp4"
log = structlog.get_logger(__name__)


class Videos:
    def __init__(
        self,
        store: UploadStore,
        folder: VideoFolder,
        links: Links,
        now_ms: Callable[[], float],
        hold: timedelta,
        *,
        consent_required: bool,
    ) -> None:
        self._consent_required = consent_required
        self._store = store
        self._folder = folder
        self._links = links
        self._now_ms = now_ms
        self._hold = hold

    async def upload_link(self, session: str, scheduled: datetime | None) -> tuple[str, datetime]:
        """Path and query of a link that takes one upload, and when it expires."""
        expires = links_expire(self._now(), scheduled, self._hold)
        upload = await self._store.add(session, expires)
        return f"/api/upload/{upload}?{self._links.query(UPLOAD, upload, expires)}", expires

    def play_link(self, session: str) -> str:
        return f"/api/videos/{session}?{self._links.query(PLAY, session, self._now() + self._hold)}"

    async def upload(
        self, upload: str, expires: str, signature: str, content_type: str, chunks: AsyncIterator[bytes]
    ) -> tuple[str, int]:
        """Take the one upload of a link; the session and the size. Forbidden or Conflict, and nothing changes."""
        self._links.check(UPLOAD, upload, expires, signature, self._now())
        session = await self._store.take(upload, self._now())
        if session is None:
            raise Conflict("This link was used already; each takes one upload. Ask for a new one.")
        try:
            await self._check_consent(session)
            key, size = await self._folder.save(session, chunks)
        except BaseException:
            await self._store.give_back(upload)
            raise
        before = await self._store.video(session)
        await self._store.finish(upload, session, key, _video_type(content_type), size)
        if before is not None:
            await self._folder.remove(before["video_storage_key"])
        log.info("video_stored", session=session, bytes=size)
        return session, size

    async def _check_consent(self, session: str) -> None:
        """A link may be older than what the patient says now."""
        if self._consent_required and not await self._store.consented(session):
            raise ConsentMissing("The patient has not agreed to being recorded; nothing of the video was kept.")

    async def play(self, session: str, expires: str, signature: str) -> tuple[Path, str]:
        """The file a playback link is for, and its type."""
        self._links.check(PLAY, session, expires, signature, self._now())
        found = await self._store.video(session)
        if found is None or not self._folder.path(found["video_storage_key"]).is_file():
            raise NotFound("This session has no video")
        return self._folder.path(found["video_storage_key"]), found["content_type"] or DEFAULT_TYPE

    async def remove(self, key: str) -> None:
        await self._folder.remove(key)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._now_ms() / 1000, UTC)


def _video_type(said: str) -> str:
    """What the upload said it is, as far as it is a video; playback must never be a page."""
    kind = said.partition(";")[0].strip().lower()
    known = kind.startswith("video/") and kind.removeprefix("video/").replace("-", "").replace(".", "").isalnum()
    return kind[:100] if known else DEFAULT_TYPE
