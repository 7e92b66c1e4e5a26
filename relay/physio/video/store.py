"""Upload links at rest. A link is used up when an upload begins, and given back when that upload fails."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.db.physio import exercise_sessions, patients, uploads
from relay.db.transactions import Row, first, transaction


class UploadStore:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, session: str, expires: datetime) -> str:
        upload = str(uuid.uuid4())
        async with transaction(self._engine, write=True) as connection:
            values = {"id": upload, "session_id": session, "expires_at": expires}
            await connection.execute(sa.insert(uploads).values(**values))
        return upload

    async def take(self, upload: str, now: datetime) -> str | None:
        """The session an unused link is for; from now on it is used."""
        query = sa.update(uploads).where(uploads.c.id == upload, uploads.c.used_at.is_(None)).values(used_at=now)
        async with transaction(self._engine, write=True) as connection:
            row = await first(connection, query.returning(uploads.c.session_id))
        return str(row["session_id"]) if row else None

    async def consented(self, session: str) -> bool:
        """Whether the session's patient agrees to being recorded, as of now."""
        agreed = sa.select(patients.c.consent_given).join(exercise_sessions)
        async with transaction(self._engine) as connection:
            row = await first(connection, agreed.where(exercise_sessions.c.id == session))
        return bool(row and row["consent_given"])

    async def give_back(self, upload: str) -> None:
        async with transaction(self._engine, write=True) as connection:
            await connection.execute(sa.update(uploads).where(uploads.c.id == upload).values(used_at=None))

    async def finish(self, upload: str, session: str, key: str, content_type: str, size: int) -> None:
        """The video is whole: its session has it from now on."""
        async with transaction(self._engine, write=True) as connection:
            known = sa.update(uploads).where(uploads.c.id == upload)
            await connection.execute(known.values(content_type=content_type, size_bytes=size))
            own = sa.update(exercise_sessions).where(exercise_sessions.c.id == session)
            await connection.execute(own.values(video_storage_key=key))

    async def video(self, session: str) -> Row | None:
        """Where a session's video is and of what type."""
        query = (
            sa.select(exercise_sessions.c.video_storage_key, uploads.c.content_type)
            .select_from(exercise_sessions.outerjoin(uploads, uploads.c.session_id == exercise_sessions.c.id))
            .where(exercise_sessions.c.id == session, exercise_sessions.c.video_storage_key.is_not(None))
            .order_by(uploads.c.used_at.desc())
            .limit(1)
        )
        async with transaction(self._engine) as connection:
            return await first(connection, query)
