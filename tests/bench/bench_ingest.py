"""From JSON batches to committed rows, through the relay's own service and store, compared with bare SQLite.

`python -m tests.bench.bench_ingest`.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
import time
from pathlib import Path

import uvloop

from core.contracts import scg
from relay.clock import SystemClock
from relay.db.engine import migrate, open_engine, sqlite_url
from relay.process.metrics import Metrics
from relay.process.tracing import Untraced
from relay.scg.feeds import Alone
from relay.scg.intake import Intake
from relay.scg.service import ScgService
from relay.scg.sessions import Bounds, LiveSessions
from relay.scg.store import Store
from relay.scg.writer import Writer
from tests.bench.rows import Row, show

SESSIONS, SAMPLES, BATCHES = 50, 100, 40
"""What fifty kits send in forty seconds, a second a message, as fast as it is taken."""


class Acked:
    source = "kit"

    def __init__(self) -> None:
        self.count = 0

    def ack(self, boot: str, seq: int) -> None:
        self.count += 1


def _message(session: str, seq: int) -> bytes:
    start = 1721574600000 + seq * 1000
    samples = [{"t": start + 10 * k, "ax": 0.01 * k, "ay": -0.001 * k, "az": 9.81 + 0.0001 * k} for k in range(SAMPLES)]
    body = {"type": "samples_batch", "session": session, "boot": "b", "seq": seq, "payload": {"samples": samples}}
    return json.dumps(body).encode()


async def _ours(folder: Path) -> float:
    clock, metrics = SystemClock(), Metrics()
    engine = open_engine(sqlite_url(folder))
    await migrate(engine)
    store = Store(engine, metrics)
    writer = Writer(store.keep, metrics, max_samples=2_000_000, commit_every_s=0.05)
    bounds = Bounds(live_sessions=1000, ring_frames=64, ring_ms=10_000, backlog_ms=30_000)
    sessions = LiveSessions(store, writer, clock, metrics, bounds)
    intake = Intake(writer, metrics, Alone(), Untraced())
    service = ScgService(store, writer, sessions, intake, clock)
    writing = asyncio.create_task(writer.run())
    lives = [await sessions.of((await service.create(user_agent="", platform="")).id) for _ in range(SESSIONS)]
    messages = [(live, _message(live.session.id, seq)) for seq in range(1, BATCHES + 1) for live in lives]
    sender = Acked()
    began = time.perf_counter()
    for number, (live, body) in enumerate(messages):
        envelope = scg.decode_envelope(body)
        batch = scg.decode_payload(envelope.payload, scg.SamplesBatch)
        await writer.space()
        intake.take(live, envelope, batch, scg.columns(batch), sender)
        if number % 20 == 0:
            await asyncio.sleep(0)
    while sender.count < len(messages):
        await writer.drained()
    took = time.perf_counter() - began
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await engine.dispose()
    return len(messages) * SAMPLES / took


def _bare(folder: Path) -> float:
    """The same bodies, one row each, written by sqlite3 with as many commits and the same care for the disk."""
    connection = sqlite3.connect(folder / "bare.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE m (id INTEGER PRIMARY KEY, session TEXT, seq INTEGER, body BLOB)")
    messages = [_message(f"s{k}", seq) for seq in range(1, BATCHES + 1) for k in range(SESSIONS)]
    began = time.perf_counter()
    for start in range(0, len(messages), SESSIONS):
        rows = [("s", start + k, body) for k, body in enumerate(messages[start : start + SESSIONS])]
        with connection:
            connection.executemany("INSERT INTO m (session, seq, body) VALUES (?, ?, ?)", rows)
    took = time.perf_counter() - began
    connection.close()
    return len(messages) * SAMPLES / took


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            ours = runner.run(_ours(Path(folder)))
        bare = _bare(Path(folder))
    return [
        Row("ingest: samples stored (decoded, packed, committed)", ours, "samples/s", "goal", 100_000),
        Row("ingest: samples stored (decoded, packed, committed)", ours, "samples/s", "bare sqlite3 of the JSON", bare),
    ]


if __name__ == "__main__":
    show("Ingest", rows())
