"""Upload links in the database. A link is used up once its upload is complete; until then the upload may be retried."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.db.physio import access_logs, exercise_sessions, patients, uploads
from relay.db.transactions import Row, first, rows, transaction
from relay.errors import NotFound


class UploadStore:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, session: str, expires: datetime, kind: str | None) -> str:
        upload = str(uuid.uuid4())
        async with transaction(self._engine, write=True) as connection:
            values = {"id": upload, "session_id": session, "expires_at": expires, "content_type": kind}
            await connection.execute(sa.insert(uploads).values(**values))
        return upload

    async def upload(self, upload: str) -> Row:
        """The link's row. Raises NotFound if its session was deleted."""
        async with transaction(self._engine) as connection:
            row = await first(connection, sa.select(uploads).where(uploads.c.id == upload))
        if row is None:
            raise NotFound("The session of this link was deleted.")
        return row

    async def uploads(self, session: str) -> list[str]:
        """Ids of all upload links ever made for a session."""
        async with transaction(self._engine) as connection:
            found = await rows(connection, sa.select(uploads.c.id).where(uploads.c.session_id == session))
        return [row["id"] for row in found]

    async def consented(self, session: str) -> bool:
        """Whether the session's patient consents to being recorded, as of now."""
        agreed = sa.select(patients.c.consent_given).join(exercise_sessions)
        async with transaction(self._engine) as connection:
            row = await first(connection, agreed.where(exercise_sessions.c.id == session))
        return bool(row and row["consent_given"])

    async def finish(self, upload: str, session: str, key: str, kind: str, size: int, now: datetime) -> bool:
        """Record the complete video in its session and mark the link used, in one commit. False if it was used
        before.
        """
        async with transaction(self._engine, write=True) as connection:
            unused = sa.update(uploads).where(uploads.c.id == upload, uploads.c.used_at.is_(None))
            used = await connection.execute(unused.values(used_at=now, content_type=kind, size_bytes=size))
            if used.rowcount == 0:
                return False
            own = sa.update(exercise_sessions).where(exercise_sessions.c.id == session)
            await connection.execute(own.values(video_storage_key=key))
        return True

    async def log_play(self, session: str, user: str, seen_by: Row) -> None:
        entry = {"user_id": user, "resource_type": "video", "resource_id": session, "action": "play", **seen_by}
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(sa.insert(access_logs), [entry])

    async def video(self, session: str) -> Row | None:
        """The storage key and content type of a session's video; None if it has none."""
        query = (
            sa.select(exercise_sessions.c.video_storage_key, uploads.c.content_type)
            .select_from(exercise_sessions.outerjoin(uploads, uploads.c.session_id == exercise_sessions.c.id))
            .where(exercise_sessions.c.id == session, exercise_sessions.c.video_storage_key.is_not(None))
            .order_by(uploads.c.used_at.is_(None), uploads.c.used_at.desc())
            .limit(1)
        )
        async with transaction(self._engine) as connection:
            return await first(connection, query)
