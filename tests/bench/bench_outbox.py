"""What the outbox costs the SD card: bytes a day, fsyncs a second, and messages taken a second, compared with a bare
SQLite table. A day is extrapolated: a kit with 100 Hz on three axes lives ten minutes on a simulated clock and commits
when the outbox says that a commit is due, while `/proc/self/io` and strace count what reaches the kernel. The signal is
the simulated board's with the noise of a real sensor, because noise does not compress.

`python -m tests.bench.bench_outbox`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent.outbox import Outbox
from agent.recorder import Recorder
from agent.sections import Session
from agent.sources import Reading, SensorInfo
from agent.wall_clock import WallClock
from firmware_bridge.decoders import Samples
from firmware_bridge.decoders.homeside_serial import HomesideSerial
from firmware_bridge.physiology import Seismocardiogram
from firmware_bridge.simulator import SimulatedSensor
from tests.bench.rows import Row, show

LIFE_S = 600
QUOTA = 2 << 30
BATCH_NS = 100_000_000
DAY_S = 86_400
SESSION = "9d3c0b74-30a7-4f3e-8d3b-7d1f3c5c2f10"


class Cost(NamedTuple):
    bytes_a_day: float
    fsyncs_a_second: float | None


def written_bytes() -> int:
    """Bytes this process has caused to be sent to the disk (proc(5), write_bytes)."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


class Kit:
    """A recorder and an outbox on clocks moved by hand, a tenth of a second a step."""

    def __init__(self, folder: Path) -> None:
        self.now_ns = 1_000_000_000_000
        self.outbox = Outbox(folder / "outbox.db", QUOTA, "4375b0fa8d28c1ff", clock=lambda: self.now_ns / 1e9)
        epoch_ns = 1_721_574_600_000_000_000
        wall = WallClock(self.now_ns, epoch_ns + self.now_ns)
        self.recorder = Recorder(
            self.outbox,
            Session(),
            wall,
            "bench",
            monotonic_ns=lambda: self.now_ns,
            wall_ns=lambda: epoch_ns + self.now_ns,
        )
        self._board = SimulatedSensor(Seismocardiogram(seed=3), seed=3)
        self._decoder = HomesideSerial()
        self._began_ns = self.now_ns

    async def begin(self) -> None:
        await self.outbox.open()
        self.recorder.sensor(SensorInfo("chest-1", "ADXL355", 100.0, 4.0))
        self.recorder.begin(SESSION)
        await self.outbox.commit()

    def step(self) -> None:
        self.now_ns += BATCH_NS
        for event in self._decoder.feed(self._board.advance(self.now_ns - self._began_ns), self.now_ns):
            if isinstance(event, Samples):
                t_ns = self._began_ns + event.ticks * 1000.0 + 417.0
                xyz = np.asarray(event.acc_g) * 9.80665
                tick = float(event.ticks[-1])
                self.recorder.samples(Reading(t_ns, xyz, self.now_ns, event.lost, 0.2, tick))
        self.recorder.flush()


async def life(folder: Path, ack_after_s: float | None) -> int:
    """Ten minutes of a kit whose relay acknowledges so late, or never; the bytes written."""
    kit = Kit(folder)
    await kit.begin()
    await kit.outbox.refill(1)
    while (begun := kit.outbox.next_due()) is not None:
        kit.outbox.acked(begun.boot, [[begun.seq, begun.seq]])
    before, sent = written_bytes(), []
    for _ in range(LIFE_S * 10):
        kit.step()
        while (message := kit.outbox.next_live()) is not None:
            sent.append((kit.now_ns, message))
            if ack_after_s is None:
                kit.outbox.grounded([message])
        while ack_after_s is not None and sent and kit.now_ns - sent[0][0] >= ack_after_s * 1e9:
            _, message = sent.pop(0)
            kit.outbox.acked(message.boot, [[message.seq, message.seq]])
        due = kit.outbox.due_at()
        if due is not None and due <= kit.now_ns / 1e9:
            await kit.outbox.commit_due()
    written = written_bytes() - before
    await kit.outbox.close()
    return written


async def messages(folder: Path, seconds: int) -> list[bytes]:
    kit = Kit(folder)
    await kit.begin()
    found = []
    for _ in range(seconds * 10):
        kit.step()
        while (message := kit.outbox.next_live()) is not None:
            found.append(message.body)
    await kit.outbox.close()
    return found


def bare_life(folder: Path) -> int:
    """The same ten minutes into a plain table: a row a message, a commit a second, the same care for the disk."""
    bodies = asyncio.run(messages(folder, LIFE_S))
    db = bare(folder)
    before = written_bytes()
    for at in range(0, len(bodies), 10):
        insert(db, bodies[at : at + 10], at)
    written = written_bytes() - before
    db.close()
    return written


def bare(folder: Path) -> sqlite3.Connection:
    db = sqlite3.connect(folder / "bare.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE m(id INTEGER PRIMARY KEY, boot TEXT, seq INTEGER, body BLOB)")
    return db


def insert(db: sqlite3.Connection, bodies: list[bytes], at: int) -> None:
    db.execute("BEGIN")
    rows = [("4375b0fa8d28c1ff", at + n, body) for n, body in enumerate(bodies)]
    db.executemany("INSERT INTO m(boot, seq, body) VALUES (?, ?, ?)", rows)
    db.execute("COMMIT")


LIVES: dict[str, Callable[[Path], int]] = {
    "away": lambda folder: asyncio.run(life(folder, None)),
    "prompt": lambda folder: asyncio.run(life(folder, 0.3)),
    "late": lambda folder: asyncio.run(life(folder, 2.0)),
    "bare": bare_life,
}


def cost(name: str) -> Cost:
    """One life in a process of its own, under strace where it is installed."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        command = [sys.executable, "-m", "tests.bench.bench_outbox", name, folder]
        if strace := shutil.which("strace"):
            command = [strace, "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(trace), *command]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        written = json.loads(done.stdout.splitlines()[-1])
        calls = sum("sync(" in line for line in trace.read_text().splitlines()) if strace else None
    return Cost(written * DAY_S / LIFE_S, None if calls is None else calls / LIFE_S)


async def put_rate(folder: Path, bodies: int = 20_000) -> float:
    """Messages a second through `put` and a commit each ten of them."""
    outbox = Outbox(folder / "rate.db", QUOTA, "b")
    await outbox.open()
    payload = {"samples": [{"t": 1721574600120.123 + n, "az": 9.80665, "ax": 0.12, "ay": -0.3} for n in range(10)]}
    began = time.perf_counter()
    for at in range(bodies):
        outbox.put("samples_batch", payload, SESSION, at)
        if at % 10 == 9:
            await outbox.commit()
    took = time.perf_counter() - began
    await outbox.close()
    return bodies / took


def bare_rate(folder: Path, bodies: int = 20_000) -> float:
    payload = {"samples": [{"t": 1721574600120.123 + n, "az": 9.80665, "ax": 0.12, "ay": -0.3} for n in range(10)]}
    db = bare(folder)
    began = time.perf_counter()
    for at in range(0, bodies, 10):
        insert(db, [json.dumps(payload | {"seq": at + n}).encode() for n in range(10)], at)
    took = time.perf_counter() - began
    db.close()
    return bodies / took


def rows() -> list[Row]:
    away, prompt, late, plain = (cost(name) for name in ("away", "prompt", "late", "bare"))
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = asyncio.run(put_rate(Path(folder))), bare_rate(Path(folder))
    beside = "bare sqlite3 table"
    found = [
        Row("outbox: written while the relay is away, 100 Hz x 3", away.bytes_a_day / 1e6, "MB/day", "goal", 1000),
        Row(
            "outbox: written while the relay is away", away.bytes_a_day / 1e6, "MB/day", beside, plain.bytes_a_day / 1e6
        ),
        Row("outbox: written, relay acknowledging in 0.3 s", prompt.bytes_a_day / 1e6, "MB/day", "goal", 1000),
        Row("outbox: written, relay acknowledging in 2 s", late.bytes_a_day / 1e6, "MB/day", "goal", 1000),
        Row("outbox: messages taken, a commit each ten", ours, "messages/s", beside, theirs),
    ]
    for what, one in (("relay away", away), ("relay acknowledging in 0.3 s", prompt), ("in 2 s", late)):
        if one.fsyncs_a_second is not None:
            found.append(Row(f"outbox: fsyncs, {what}", one.fsyncs_a_second, "1/s", beside, plain.fsyncs_a_second))
    return found


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(LIVES[sys.argv[1]](Path(sys.argv[2])))
    else:
        show("Outbox", rows())
