"""One patient's data: exported as one file, or erased. Knows nothing of HTTP or SQL.

Both leave an entry in the audit trail. An export holds everything stored about the patient, in formats anybody can
read. An erasure removes all of it, in the database and outside it, except the audit trail.
"""

from __future__ import annotations

import asyncio
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import structlog

from relay.accounts.service import Visit
from relay.errors import NotFound
from relay.physio import shapes
from relay.physio.frames.store import FrameStore
from relay.physio.records.store import RecordStore
from relay.physio.sealing import Seal
from relay.physio.shapes import Row
from relay.physio.video.service import Videos

FRAMES_AT_ONCE = 500
FORMATS = {"video/mp4": "mp4", "video/webm": "webm", "video/quicktime": "mov", "video/x-matroska": "mkv"}
ABOUT = """What Homeside keeps of this patient, as of {at}.

profile.json          the person, conditions, medications, emergency contact, consent
sessions.json         every exercise session: when, what, statistics of its frames, repetitions and form
sessions/ID/          frames.ndjson: one pose a line, landmarks and angles; reviews.json; video, where there is one
access_log.json       who saw what of this, and when
Times are UTC. Angles are degrees, landmarks are shares of the picture's width and height, which processing_metadata
gives in pixels.
"""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Erased:
    sessions: int
    videos: int


class Records:
    def __init__(
        self,
        store: RecordStore,
        frames: FrameStore,
        videos: Videos,
        seal: Seal,
        now_ms: Callable[[], float],
        folder: Path,
    ) -> None:
        self._store = store
        self._frames = frames
        self._videos = videos
        self._seal = seal
        self._now_ms = now_ms
        self._folder = folder

    async def patient_of(self, email: str) -> str:
        """Id of the patient with this e-mail address. Raises NotFound if it is no patient's."""
        found = await self._store.patient_of(email)
        if found is None:
            raise NotFound(f"{email} is no patient's e-mail address")
        return found

    async def export(self, visit: Visit | None, patient: str) -> BinaryIO:
        """All of the patient's data as a ZIP file, positioned at its beginning. The file has no name on disk, so it
        disappears when it is closed, whatever happens. `visit` is None when the operator's command asks.
        """
        person = await self._person(patient)
        await self._store.note(self._entry(visit, "export", patient))
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = await asyncio.to_thread(_nameless, self._folder)
        try:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
                await self._fill(archive, person)
        except BaseException:
            file.close()
            raise
        log.info("patient_exported", patient=patient, bytes=file.tell())
        file.seek(0)
        return file

    async def erase(self, visit: Visit | None, patient: str, confirm: str) -> Erased:
        """Remove the patient, the account and all recorded data. `confirm` must repeat the patient's e-mail address,
        because this cannot be undone; otherwise NotFound.
        """
        person = await self._person(patient)
        if confirm.strip().lower() != person["email"]:
            raise NotFound("The e-mail address given to confirm is not this patient's; nothing was erased.")
        sessions = [row["id"] for row in await self._store.sessions(patient)]
        videos = await self._remove_videos(sessions)
        await self._store.erase(patient, person["user_id"], self._entry(visit, "erase", patient))
        videos += await self._remove_videos(sessions)
        log.info("patient_erased", patient=patient, sessions=len(sessions), videos=videos)
        return Erased(len(sessions), videos)

    async def _remove_videos(self, sessions: Iterable[str]) -> int:
        return sum([await self._videos.remove(session) for session in sessions])

    async def _person(self, patient: str) -> Row:
        found = await self._store.patient(patient)
        if found is None:
            raise NotFound("Patient not found")
        return found

    # -- the parts of an export ----------------------------------------------------------------------------------

    async def _fill(self, archive: zipfile.ZipFile, person: Row) -> None:
        sessions = await self._store.sessions(person["id"])
        about = ABOUT.format(at=shapes.moment(self._now()))
        await asyncio.to_thread(archive.writestr, "README.txt", about)
        await _write(archive, "profile.json", shapes.profile(person, self._seal.open_column))
        await _write(archive, "sessions.json", [_plain(row, "video_storage_key") for row in sessions])
        for row in sessions:
            folder = f"sessions/{row['id']}"
            await _write(
                archive, f"{folder}/reviews.json", [_plain(one) for one in await self._store.reviews(row["id"])]
            )
            await self._add_frames(archive, f"{folder}/frames.ndjson", row["id"])
            await self._add_video(archive, f"{folder}/video", row["id"])
        seen = await self._store.accesses([person["id"], *(row["id"] for row in sessions)])
        await _write(archive, "access_log.json", [_plain(row) for row in seen])

    async def _add_frames(self, archive: zipfile.ZipFile, name: str, session: str) -> None:
        after = -1
        with archive.open(name, "w") as entry:
            while found := await self._frames.page(session, after, FRAMES_AT_ONCE):
                after = found[-1]["timestamp_ms"]
                lines = b"".join(msgspec.json.encode(shapes.frame(row)) + b"\n" for row in found)
                await asyncio.to_thread(entry.write, lines)

    async def _add_video(self, archive: zipfile.ZipFile, name: str, session: str) -> None:
        clip = await self._videos.clip(session)
        if clip is None:
            return
        stored = zipfile.ZipInfo(f"{name}.{FORMATS.get(clip.kind, 'bin')}", self._now().timetuple()[:6])
        with archive.open(stored, "w", force_zip64=True) as entry:
            async for piece in clip.read(0, clip.size):
                await asyncio.to_thread(entry.write, piece)

    def _entry(self, visit: Visit | None, action: str, patient: str) -> dict[str, Any]:
        return {
            "user_id": visit.account.id if visit else None,
            "resource_type": "patient",
            "resource_id": patient,
            "action": action,
            "ip_address": visit.address if visit else None,
            "user_agent": visit.agent if visit else "homeside patients",
        }

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._now_ms() / 1000, UTC)


def _nameless(folder: Path) -> BinaryIO:
    return cast("BinaryIO", tempfile.TemporaryFile(dir=folder))


async def _write(archive: zipfile.ZipFile, name: str, value: Any) -> None:
    await asyncio.to_thread(archive.writestr, name, msgspec.json.format(msgspec.json.encode(value), indent=1))


def _plain(row: Row, *left_out: str) -> Row:
    shown = {key: value for key, value in row.items() if key not in left_out}
    return {key: shapes.moment(value) if isinstance(value, datetime) else value for key, value in shown.items()}
