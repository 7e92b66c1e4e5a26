"""Upload links, uploads and playback links of sessions' videos. Knows nothing of HTTP or SQL."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import structlog

from relay.errors import Conflict, ConsentMissing, NotFound
from relay.physio.links import Links
from relay.physio.rules import LONGEST_LINK, links_expire
from relay.physio.shapes import Row
from relay.physio.video.gateway import Shelf
from relay.physio.video.spool import Spool
from relay.physio.video.store import UploadStore

UPLOAD, PLAY = "upload", "play"
DEFAULT_TYPE = "video/mp4"
SWEEP_EVERY_S = 3600.0
USED = "This link was used already; each takes one upload. Ask for a new one."
Link = tuple[str, str, str]
"""Upload id, expiry and signature, as they appear in the link."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request body, and the number of bytes it announced (None if unknown)."""

    chunks: AsyncIterator[bytes]
    announced: int | None


@dataclass(frozen=True, slots=True)
class Uploaded:
    """State of an upload."""

    session: str
    size: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Clip:
    """A stored video: key, size in bytes, content type, and a function that reads a range of it."""

    key: str
    size: int
    kind: str
    read: Callable[[int, int], AsyncIterator[bytes]]


class Videos:
    def __init__(
        self,
        store: UploadStore,
        spool: Spool,
        shelf: Shelf,
        links: Links,
        now_ms: Callable[[], float],
        hold: timedelta,
        *,
        consent_required: bool,
    ) -> None:
        self._consent_required = consent_required
        self._store = store
        self._spool = spool
        self._shelf = shelf
        self._links = links
        self._now_ms = now_ms
        self._hold = hold

    async def upload_link(
        self, session: str, scheduled: datetime | None, kind: str | None = None
    ) -> tuple[str, datetime]:
        """Path and query of a link for one upload, and when it expires."""
        expires = links_expire(self._now(), scheduled, self._hold)
        upload = await self._store.add(session, expires, kind)
        return f"/api/upload/{upload}?{self._links.query(UPLOAD, upload, expires)}", expires

    def play_link(self, session: str, user: str) -> str:
        """A playback link for this user; each use of it is recorded under their name."""
        signed = self._links.query(PLAY, f"{session} {user}", self._now() + self._hold)
        return f"/api/videos/{session}?user={user}&{signed}"

    # -- uploads -------------------------------------------------------------------------------------------------

    async def arrived(self, link: Link) -> tuple[int, int, bool]:
        """Bytes of the upload received so far, the most it may have, and whether it is complete."""
        self._check(link)
        row = await self._store.upload(link[0])
        if row["used_at"] is not None:
            return row["size_bytes"] or 0, self._spool.max_bytes, True
        return self._spool.size(link[0]), self._spool.max_bytes, False

    async def upload(self, link: Link, content_type: str, body: Sent, offset: int, *, whole: bool) -> Uploaded:
        """Take the video, or the part of it that begins at `offset`. Raises Forbidden, Conflict or ConsentMissing.
        Bytes received before a connection broke are kept for the next attempt.
        """
        self._check(link)
        row = await self._store.upload(link[0])
        if row["used_at"] is not None:
            raise Conflict(USED)
        session = row["session_id"]
        await self._check_consent(session, link[0])
        size = await self._spool.append(link[0], offset, body.chunks, body.announced)
        if whole:
            kind = _video_type(content_type) or row["content_type"] or DEFAULT_TYPE
            with self._spool.settled(link[0]):
                await self._finish(link[0], session, await self._spool.whole(link[0]), kind)
            log.info("video_stored", session=session, bytes=size)
        return Uploaded(session, size, whole)

    async def _finish(self, upload: str, session: str, part: Path, kind: str) -> None:
        """Store the complete video, unless consent was withdrawn or the link was used by another request in the
        meantime.
        """
        size = self._spool.size(upload)
        await self._check_consent(session, upload)
        key = f"{uuid.UUID(session)}-{uuid.uuid4().hex[:8]}"
        before = await self._store.video(session)
        await self._shelf.keep(key, part)
        if not await self._store.finish(upload, session, key, kind, size, self._now()):
            await self._shelf.remove(key)
            raise Conflict(USED)
        if before is not None:
            await self._shelf.remove(before["video_storage_key"])

    async def _check_consent(self, session: str, upload: str) -> None:
        """Check consent again: the patient may have withdrawn it after the link was made. Then the upload is
        deleted.
        """
        if self._consent_required and not await self._store.consented(session):
            self._spool.drop(upload)
            raise ConsentMissing("The patient has not agreed to being recorded; nothing of the video was kept.")

    def _check(self, link: Link) -> None:
        upload, expires, signature = link
        self._links.check(UPLOAD, upload, expires, signature, self._now())

    async def sweep_for_ever(self) -> None:
        """Remove abandoned uploads, once no link to them can still be valid."""
        while True:
            gone = await asyncio.to_thread(self._spool.sweep, (LONGEST_LINK + self._hold).total_seconds())
            if gone:
                log.info("uploads_swept", count=gone)
            await asyncio.sleep(SWEEP_EVERY_S)

    # -- videos --------------------------------------------------------------------------------------------------

    async def play(self, session: str, user: str, expires: str, signature: str, seen_by: Row) -> Clip:
        """The video of a playback link. Who watches it, and from which address, is recorded first."""
        self._links.check(PLAY, f"{session} {user}", expires, signature, self._now())
        clip = await self.clip(session)
        if clip is None:
            raise NotFound("This session has no video")
        await self._store.log_play(session, user, seen_by)
        return clip

    async def clip(self, session: str) -> Clip | None:
        """A session's video, if it has one."""
        found = await self._store.video(session)
        size = await self._shelf.size(found["video_storage_key"]) if found else None
        if found is None or size is None:
            return None
        key = found["video_storage_key"]
        return Clip(key, size, found["content_type"] or DEFAULT_TYPE, partial(self._shelf.read, key))

    async def remove(self, session: str) -> int:
        """Remove all videos of a session and its unfinished uploads; returns the number of complete videos removed."""
        for upload in await self._store.uploads(session):
            self._spool.drop(upload)
        return await self._shelf.remove(f"{uuid.UUID(session)}-")

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._now_ms() / 1000, UTC)


def _video_type(said: str) -> str | None:
    """The content type given with the upload if it is a video type, else None: playback must never serve an HTML
    page.
    """
    kind = said.partition(";")[0].strip().lower()
    known = kind.startswith("video/") and kind.removeprefix("video/").replace("-", "").replace(".", "").isalnum()
    return kind[:100] if known else None
