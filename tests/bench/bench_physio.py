"""Pose frames in, details and lists out: through the relay's own service and stores, on both databases.

Beside it, in the same run: a bare COPY and a row-by-row INSERT of the same frames on the same PostgreSQL.
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
from typing import Any

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
from relay.db.physio import exercise_sessions
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


async def _ours(url: str, folder: Path, bodies: list[bytes], name: str) -> tuple[list[Row], float]:
    engine = open_engine(database_url(url, folder))
    await migrate(engine)
    person = await AccountStore(engine).add("a@b.org", "x", Role.PATIENT, consent_at=datetime.now(UTC))
    visit = Visit(person, "", "127.0.0.1", "bench")
    service = _service(engine, folder)
    body = CreateSession.model_validate({"patient_id": person.patient_id, "exercise_type": "squat"})
    session, _, _ = await service.create(visit, body)
    began = time.perf_counter()
    for data in bodies:
        await service.take(visit, session, data)
    rate = FRAMES / (time.perf_counter() - began)
    details = await _p95(lambda: service.details(visit, session))
    await _many(engine, person)
    lists = await _p95(lambda: service.sessions(visit, Filters(), Page(3, 20)))
    await engine.dispose()
    return [
        Row(f"{name}: details of {FRAMES:,} frames, p95", details, "ms", "goal", 30),
        Row(f"{name}: list page of {SESSIONS:,} sessions, p95", lists, "ms", "goal", 15),
    ], rate


async def _p95(ask: Callable[[], Awaitable[Any]]) -> float:
    took = []
    for _ in range(ASKED):
        began = time.perf_counter()
        await ask()
        took.append((time.perf_counter() - began) * 1000)
    return float(np.percentile(took, 95))


async def _many(engine: AsyncEngine, person: Account) -> None:
    now = datetime.now(UTC)
    rows = [
        {"id": str(uuid.uuid4()), "patient_id": person.patient_id, "created_at": now + timedelta(seconds=k)}
        for k in range(SESSIONS)
    ]
    async with engine.begin() as connection:
        for start in range(0, SESSIONS, 10_000):
            await connection.execute(sa.insert(exercise_sessions), rows[start : start + 10_000])
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
            embedded, on_sqlite = runner.run(_ours("", Path(folder), bodies, "sqlite"))
            site, on_postgresql = runner.run(_ours(server.database(), Path(folder), bodies, "postgresql"))
            copied, inserted = runner.run(_bare(server.database(), bodies))
    finally:
        server.remove()
    name = f"pose frames stored ({len(bodies[0]) / BODY / 1000:.1f} kB each, validated)"
    return [
        Row(f"postgresql: {name}", on_postgresql, "frames/s", "bare COPY", copied),
        Row(f"postgresql: {name}", on_postgresql, "frames/s", "INSERT row by row", inserted),
        Row(f"sqlite: {name}", on_sqlite, "frames/s", "goal", 4_000),
        *site,
        *embedded,
    ]


if __name__ == "__main__":
    show("Physiotherapy", rows())
