"""Sessions, frames, reviews and progress, for those who may see them. Knows nothing of HTTP or SQL.

Every read of patients' data is recorded in the audit trail before it is answered; if that fails, nothing is shown. What
an account may not see is answered like what does not exist: NotFound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from core.contracts.physio import (
    CreateSession,
    Invalid,
    PoseData,
    SubmitReview,
    UpdateProfile,
    UpdateSession,
    decode_pose_data,
)
from relay.accounts.service import Visit
from relay.auth import Role
from relay.errors import ConsentMissing, Forbidden, NotFound
from relay.physio import shapes
from relay.physio.frames.store import FrameStore
from relay.physio.progress import movement, progress
from relay.physio.rules import Statistics
from relay.physio.sealing import Seal
from relay.physio.shapes import SEALED, Row
from relay.physio.store import Filters, Period, PhysioStore
from relay.physio.video.service import Videos

PERSONAL = ("first_name", "last_name", "phone")
PATIENTS_MAY_CHANGE = frozenset({"start_time", "end_time", "equipment_used", "environment_notes"})
IN_A_THREAD_FROM = 65_536
"""Request bodies of at least this many bytes are decoded in a thread, not on the event loop."""
MAX_PROGRESS, MAX_APPOINTMENTS = 500, 5_000
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list, numbered from 1."""

    number: int
    size: int

    def of(self, total: int) -> dict[str, int]:
        pages = -(-total // self.size)
        return {"page": self.number, "per_page": self.size, "total_items": total, "total_pages": pages}


class PhysioService:
    def __init__(
        self,
        store: PhysioStore,
        frames: FrameStore,
        videos: Videos,
        seal: Seal,
        now_ms: Callable[[], float],
        *,
        consent_required: bool,
    ) -> None:
        self._store = store
        self._frames = frames
        self._videos = videos
        self._seal = seal
        self._now_ms = now_ms
        self._consent_required = consent_required

    # -- sessions ------------------------------------------------------------------------------------------------

    async def create(self, visit: Visit, body: CreateSession) -> tuple[str, str, datetime]:
        """Create a session. Returns its id, the path of its video's upload link, and when that link expires."""
        patient = await self._store.patient(visit.account, body.patient_id)
        if patient is None:
            raise NotFound("Patient not found")
        exercise = await self._exercise(visit, body.exercise_type)
        values = {
            "patient_id": patient["id"],
            "physiotherapist_id": visit.account.physiotherapist_id,
            "exercise_type_id": exercise,
            "scheduled_datetime": body.scheduled_datetime,
            "instructions": body.instructions,
        }
        session = await self._store.create_session(values, body.estimated_duration)
        await self._audit(visit, "create", "session", [session])
        link, expires = await self._videos.upload_link(session, body.scheduled_datetime)
        log.info("exercise_session_created", session=session)
        return session, link, expires

    async def details(self, visit: Visit, session: str) -> tuple[Row, str | None]:
        """The session details of the document, and the path of the video's playback link."""
        row = await self.visible(visit, session)
        review = await self._store.review(session)
        await self._audit(visit, "read", "session", [session])
        return shapes.details(row, review, self._video(visit, row)), self._video(visit, row)

    async def sessions(self, visit: Visit, filters: Filters, page: Page) -> tuple[list[Row], dict[str, int]]:
        found, total = await self._store.sessions(visit.account, filters, page.number, page.size)
        await self._audit(visit, "list", "patient", {row["patient_id"] for row in found})
        return [shapes.list_line(row, self._video(visit, row)) for row in found], page.of(total)

    async def update(self, visit: Visit, session: str, body: UpdateSession) -> Row:
        """Change the given fields; a patient may change what happened, but not what was prescribed."""
        row = await self.visible(visit, session)
        given = body.model_dump(exclude_unset=True)
        if visit.account.role is Role.PATIENT and not given.keys() <= PATIENTS_MAY_CHANGE:
            raise Forbidden("A patient may change " + ", ".join(sorted(PATIENTS_MAY_CHANGE)) + " only.")
        values, statistics = await self._changes(visit, row, given)
        await self._store.update_session(session, values, statistics)
        await self._audit(visit, "update", "session", [session])
        return shapes.session_head(await self.visible(visit, session), self._video(visit, row))

    async def _changes(self, visit: Visit, row: Row, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        statistics: dict[str, Any] = {}
        if "estimated_duration" in given:
            statistics["estimated_duration"] = given.pop("estimated_duration")
        if name := given.pop("exercise_type", None):
            given["exercise_type_id"] = await self._exercise(visit, name)
        if given.get("status", "") is None:
            raise Invalid([("status", "may not be null")])
        if "start_time" in given or "end_time" in given:
            began, ended = (given.get(key, row[key]) for key in ("start_time", "end_time"))
            if began and ended:
                if ended < began:
                    raise Invalid([("end_time", "lies before start_time")])
                given["duration_seconds"] = round((ended - began).total_seconds())
            statistics["times_given"] = True
        return given, statistics

    async def delete(self, visit: Visit, session: str) -> None:
        await self.visible(visit, session)
        if visit.account.role is Role.PATIENT:
            raise Forbidden("A session is deleted by a physiotherapist. Ask yours.")
        await self._videos.remove(session)
        await self._store.delete_session(session)
        await self._audit(visit, "delete", "session", [session])

    async def upload_link(self, visit: Visit, session: str, kind: str) -> tuple[str, datetime]:
        row = await self.visible(visit, session)
        self._check_consent(row)
        return await self._videos.upload_link(session, row["scheduled_datetime"], kind)

    # -- frames --------------------------------------------------------------------------------------------------

    async def take(self, visit: Visit, session: str, body: bytes) -> Row:
        """Store the frames of a request body, each once however often it is sent."""
        row = await self.visible(visit, session)
        self._check_consent(row)
        data = await self._decoded(body)
        added = await self._frames.add(session, data)
        return {
            "session_id": session,
            "frames_received": len(data.frames),
            "frames_stored": added.stored,
            "duplicates": added.duplicates,
            "frame_count": added.statistics.frame_count,
        }

    async def _decoded(self, body: bytes) -> PoseData:
        if len(body) < IN_A_THREAD_FROM:
            return decode_pose_data(body)
        return await asyncio.to_thread(decode_pose_data, body)

    async def frames(self, visit: Visit, session: str, after_ms: int, limit: int) -> list[Row]:
        """Frames with landmarks, ordered by time, for the replay."""
        await self.visible(visit, session)
        found = await self._frames.page(session, after_ms, limit)
        await self._audit(visit, "read", "session", [session])
        return [shapes.frame(row) for row in found]

    async def timeline(self, visit: Visit, session: str) -> Row:
        """Angles over time, repetitions, issues and tempo of a session."""
        row = await self.visible(visit, session)
        found = await self._frames.angles(session)
        await self._audit(visit, "read", "session", [session])
        motion = await asyncio.to_thread(movement, row["exercise_type"], found)
        await self._frames.keep_motion(session, motion["summary"], Statistics.of_row(row).frame_count)
        return motion

    # -- patients ------------------------------------------------------------------------------------------------

    async def profile(self, visit: Visit) -> Row:
        row = await self._own_patient(visit)
        await self._audit(visit, "read", "patient", [row["id"]])
        return shapes.profile(row, self._seal.open_column)

    async def update_profile(self, visit: Visit, body: UpdateProfile) -> Row:
        given = body.model_dump(exclude_unset=True)
        person: dict[str, Any] = {key: given.pop(key) for key in PERSONAL if key in given}
        if "consent_given" in given:
            agreed = given["consent_given"] = bool(given["consent_given"])
            given["consent_date"] = self._now() if agreed else None
        for column in SEALED:
            if given.get(column) is not None:
                given[column] = self._seal.seal_column(given[column], column)
        await self._store.update_patient(visit.account, person, given)
        row = await self._own_patient(visit)
        await self._audit(visit, "update", "patient", [row["id"]])
        return shapes.profile(row, self._seal.open_column)

    async def patients(self, visit: Visit, page: Page) -> tuple[list[Row], dict[str, int]]:
        found, total = await self._store.patients(visit.account, page.number, page.size)
        await self._audit(visit, "list", "patient", [row["id"] for row in found])
        return [shapes.patient_line(row) for row in found], page.of(total)

    # -- reviews and progress ------------------------------------------------------------------------------------

    async def review(self, visit: Visit, body: SubmitReview) -> Row:
        session = body.session_id
        await self.visible(visit, session)
        physiotherapist = visit.account.physiotherapist_id
        assert physiotherapist is not None
        steps = body.next_steps.model_dump(mode="json") if body.next_steps else None
        values = {
            "notes": body.notes,
            "overall_assessment": body.overall_assessment,
            "form_feedback": [remark.model_dump(exclude_none=True) for remark in body.form_feedback],
            "recommendations": steps,
            "next_session_scheduled": body.next_steps.follow_up_date if body.next_steps else None,
            "reviewed_at": self._now(),
        }
        review = await self._store.add_review(session, physiotherapist, values)
        await self._audit(visit, "review", "session", [session])
        log.info("exercise_session_reviewed", session=session, review=review)
        own = {"id": review, "session_id": session, "physiotherapist_id": physiotherapist}
        return shapes.review_body({**values, **own, "physiotherapist_name": visit.account.name}) | {
            "status": "reviewed"
        }

    async def analytics(self, visit: Visit, filters: Filters, period: Period) -> list[Row]:
        """Progress per patient, exercise and joint, and how many of the scheduled sessions were done."""
        if filters.patient is not None and await self._store.patient(visit.account, filters.patient) is None:
            raise NotFound("Patient not found")
        found = await self._store.progress(visit.account, filters, period, MAX_PROGRESS)
        for row in found:
            if row["motion_frames"] != row["frame_count"]:
                row["motion"] = await self._measured(row)
        appointments = await self._store.appointments(visit.account, filters, period, MAX_APPOINTMENTS)
        await self._audit(visit, "analytics", "patient", {row["patient_id"] for row in [*found, *appointments]})
        return progress(found, appointments, self._now())

    async def _measured(self, row: Row) -> Row:
        frames = await self._frames.angles(row["id"])
        motion = await asyncio.to_thread(movement, row["exercise_type"], frames)
        await self._frames.keep_motion(row["id"], motion["summary"], row["frame_count"])
        summary: Row = motion["summary"]
        return summary

    # -- shared --------------------------------------------------------------------------------------------------

    async def visible(self, visit: Visit, session: str) -> Row:
        """The session if this visitor may see it; otherwise NotFound."""
        row = await self._store.session(visit.account, session)
        if row is None:
            raise NotFound("Session not found")
        return row

    async def _own_patient(self, visit: Visit) -> Row:
        row = await self._store.patient(visit.account, visit.account.patient_id or "")
        if row is None:
            raise NotFound("Patient not found")
        return row

    async def _exercise(self, visit: Visit, name: str) -> str:
        """Id of the exercise with this name. Staff may add a new one; a patient may only use those that exist."""
        found = await self._store.exercise(name, make=visit.account.role is not Role.PATIENT)
        if found is None:
            raise Invalid([("exercise_type", "is no exercise known here; a physiotherapist may add it")])
        return found

    def _check_consent(self, row: Row) -> None:
        if self._consent_required and not row["consent_given"]:
            raise ConsentMissing(
                "The patient has not agreed to being recorded. "
                "The patient does so with PUT /api/patients/profile and consent_given true."
            )

    def _video(self, visit: Visit, row: Row) -> str | None:
        return self._videos.play_link(row["id"], visit.account.id) if row["video_storage_key"] else None

    async def _audit(self, visit: Visit, action: str, kind: str, ids: Iterable[str]) -> None:
        """Write one audit row for each patient or session shown; an empty list is recorded too."""
        own = {
            "user_id": visit.account.id,
            "resource_type": kind,
            "action": action,
            "ip_address": visit.address,
            "user_agent": visit.agent,
        }
        shown: list[str | None] = [*sorted(ids)]
        await self._store.log_access([own | {"resource_id": identity} for identity in shown or [None]])

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._now_ms() / 1000, UTC)
