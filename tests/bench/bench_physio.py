"""Pose frames in, details and lists out, through the relay's own service and stores, on both databases. A bare COPY and
a row-by-row INSERT of the same frames into the same PostgreSQL are measured in the same run. The lists are those of a
patient with 100,000 sessions, and of a physiotherapist with that patient and 100 others.

`python -m tests.bench.bench_physio`.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import numpy as np
import sqlalchemy as sa
import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from core.contracts.physio import CreateSession
from relay.accounts.service import Visit
from relay.accounts.store import Account, AccountStore
from relay.auth import Role
from relay.db.engine import database_url, migrate, open_engine
from relay.db.physio import exercise_sessions, session_statistics
from relay.physio.frames.store import FrameStore
from relay.physio.links import Links
from relay.physio.sealing import Seal
from relay.physio.service import Page, PhysioService
from relay.physio.store import Filters, PhysioStore
from relay.physio.video.gateway import VideoFolder
from relay.physio.video.service import Videos
from relay.physio.video.spool import Spool
from relay.physio.video.store import UploadStore
from tests.bench.rows import Row, show
from tests.peers_postgres import Postgres
from tests.physio.squatting import frames

FRAMES, BODY, SESSIONS, ASKED = 30_000, 300, 100_000, 200
SENDERS, OTHERS, EACH, AT_ONCE = 4, 100, 10, 1_000


def _bodies() -> list[bytes]:
    """The frames of a long session, as bodies: 33 landmarks each, with every field a camera gives."""
    some = frames(1706630400000, squats=30)
    for frame in some:
        for landmark in frame["landmarks"]:
            landmark["z"] = 0.1234
    made = [some[k % len(some)] | {"timestamp": 1706630400000 + 66 * k} for k in range(FRAMES)]
    return [json.dumps({"frames": made[k : k + BODY]}).encode() for k in range(0, FRAMES, BODY)]


def _service(engine: AsyncEngine, folder: Path) -> PhysioService:
    def now_ms() -> float:
        return time.time() * 1000

    store = UploadStore(engine)
    hold = timedelta(hours=1)
    spool, shelf = Spool(folder, 1 << 30), VideoFolder(folder)
    videos = Videos(store, spool, shelf, Links(b"x"), now_ms, hold, consent_required=True)
    return PhysioService(PhysioStore(engine), FrameStore(engine), videos, Seal(b"x"), now_ms, consent_required=True)


class Asked(NamedTuple):
    """The service, and somebody who asks it."""

    service: PhysioService
    visit: Visit

    async def session(self) -> str:
        body = {"patient_id": self.visit.account.patient_id, "exercise_type": "squat"}
        return (await self.service.create(self.visit, CreateSession.model_validate(body)))[0]

    async def rate(self, bodies: list[bytes], senders: int) -> tuple[float, str]:
        """Frames a second, each sender's into a session of its own; and one such session."""
        sessions = [await self.session() for _ in range(senders)]
        began = time.perf_counter()
        await asyncio.gather(*(self._send(one, bodies[k::senders]) for k, one in enumerate(sessions)))
        return FRAMES / (time.perf_counter() - began), sessions[0]

    async def _send(self, session: str, bodies: list[bytes]) -> None:
        for body in bodies:
            await self.service.take(self.visit, session, body)

    async def page(self, number: int, status: str | None = None) -> Any:
        return await self.service.sessions(self.visit, Filters(status=status), Page(number, 20))


async def _ours(url: str, folder: Path, bodies: list[bytes], name: str) -> tuple[list[Row], float, float]:
    engine = open_engine(database_url(url, folder))
    await migrate(engine)
    service, store = _service(engine, folder), AccountStore(engine)
    person = await store.add("a@b.org", "x", Role.PATIENT, consent_at=datetime.now(UTC))
    asked = Asked(service, Visit(person, "", "127.0.0.1", "bench"))
    alone, session = await asked.rate(bodies, 1)
    together, _ = await asked.rate(bodies, SENDERS)
    details = await _p95(lambda: service.details(asked.visit, session))
    therapist = await store.add("t@b.org", "x", Role.PHYSIOTHERAPIST)
    treats = Asked(service, Visit(therapist, "", "127.0.0.1", "bench"))
    await _many(engine, store, person)
    lists = {
        "a patient's list page": lambda: asked.page(3),
        "a physiotherapist's list page": lambda: treats.page(3),
        "a physiotherapist's page of sessions to review": lambda: treats.page(1, "review_pending"),
        "a physiotherapist's page of patients": lambda: service.patients(treats.visit, Page(1, 20)),
    }
    made = [Row(f"{name}: details of {FRAMES:,} frames, p95", details, "ms", "goal", 30)]
    for what, ask in lists.items():
        made.append(Row(f"{name}: {what}, {SESSIONS:,} sessions, p95", await _p95(ask), "ms", "goal", 15))
    await engine.dispose()
    return made, alone, together


async def _p95(ask: Callable[[], Awaitable[Any]]) -> float:
    took = []
    for _ in range(ASKED):
        began = time.perf_counter()
        await ask()
        took.append((time.perf_counter() - began) * 1000)
    return float(np.percentile(took, 95))


async def _many(engine: AsyncEngine, store: AccountStore, person: Account) -> None:
    """Sessions of the one patient and of the others, all of them one physiotherapist's; one in fifty waits."""
    others = [await store.add(f"a{k}@b.org", "x", Role.PATIENT, first_name=f"A{k}") for k in range(OTHERS)]
    for one in (person, *others):
        await store.assign(one.email, "t@b.org", True)
    now, whose = datetime.now(UTC), [person] * SESSIONS + others * EACH
    rows = [
        {
            "id": str(uuid.uuid4()),
            "patient_id": one.patient_id,
            "created_at": now - timedelta(seconds=k),
            "start_time": now - timedelta(seconds=k),
            "status": "reviewed" if k % 50 else "review_pending",
        }
        for k, one in enumerate(whose)
    ]
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE]
        async with engine.begin() as connection:
            await connection.execute(sa.insert(exercise_sessions).values(part))
            counted = [{"session_id": row["id"]} for row in part]
            await connection.execute(sa.insert(session_statistics).values(counted))
    async with engine.begin() as connection:
        await connection.execute(sa.text("ANALYZE"))


async def _bare(url: str, bodies: list[bytes]) -> tuple[float, float]:
    """Rows a second by COPY, in as many commits, and by INSERT one by one, of the same JSON."""
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE bare (id uuid, n int, t bigint, landmarks jsonb, angles jsonb)")
    parsed = [json.loads(body)["frames"] for body in bodies]
    batches = [
        [
            (uuid.uuid4(), n, f["timestamp"], json.dumps(f["landmarks"]), json.dumps(f["angles"]))
            for n, f in enumerate(fs)
        ]
        for fs in parsed
    ]
    began = time.perf_counter()
    for batch in batches:
        await connection.copy_records_to_table("bare", records=batch)
    copied = FRAMES / (time.perf_counter() - began)
    few = [row for batch in batches[:10] for row in batch]
    began = time.perf_counter()
    for row in few:
        await connection.execute("INSERT INTO bare VALUES ($1, $2, $3, $4, $5)", *row)
    inserted = len(few) / (time.perf_counter() - began)
    await connection.close()
    return copied, inserted


def rows() -> list[Row]:
    bodies = _bodies()
    server = Postgres(("shared_buffers=128MB",))
    server.start()
    try:
        with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            embedded, alone_embedded, _ = runner.run(_ours("", Path(folder), bodies, "sqlite"))
            site, alone, together = runner.run(_ours(server.database(), Path(folder), bodies, "postgresql"))
            copied, inserted = runner.run(_bare(server.database(), bodies))
    finally:
        server.remove()
    size = f"{len(bodies[0]) / BODY / 1000:.1f} kB each, validated"
    return [
        Row(
            f"postgresql: pose frames stored ({size}), {SENDERS} sessions at once", together, "/s", "bare COPY", copied
        ),
        Row(f"postgresql: pose frames stored ({size}), one session", alone, "/s", "bare COPY", copied),
        Row(f"postgresql: pose frames stored ({size}), one session", alone, "/s", "INSERT by row", inserted),
        Row(f"sqlite: pose frames stored ({size}), one session", alone_embedded, "/s", "goal", 4_000),
        *site,
        *embedded,
    ]


if __name__ == "__main__":
    show("Physiotherapy", rows())
