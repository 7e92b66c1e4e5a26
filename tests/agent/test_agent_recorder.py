"""The recorder: samples to messages, sessions over restarts, a wall clock that is set under way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from agent.outbox import Outbox
from agent.outbox.blocks import SessionMark
from agent.recorder import Recorder
from agent.sections import Session
from agent.sources import Reading, SensorInfo
from agent.wall_clock import WallClock
from core.contracts.scg import MAX_SAMPLES_PER_BATCH, SamplesBatch, SessionStarted, decode_envelope, decode_payload

START_MS = 1_721_574_600_000
INFO = SensorInfo("chest-1", "ADXL355", 100.0, 2.0)


class Time:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.mono = 5_000_000_000
        self.wall = START_MS * 1_000_000

    def go(self, seconds: float) -> None:
        self.mono += int(seconds * 1e9)
        self.wall += int(seconds * 1e9)


class Bench:
    def __init__(self, outbox: Outbox, **settings: Any) -> None:
        self.time = Time()
        self.outbox = outbox
        self.wall = WallClock(self.time.mono, self.time.wall)
        self.recorder = Recorder(
            outbox,
            Session(**settings),
            self.wall,
            "0.1",
            monotonic_ns=lambda: self.time.mono,
            wall_ns=lambda: self.time.wall,
        )

    def read(self, n: int = 4, **more: Any) -> None:
        """`n` samples 10 ms apart, the last one now."""
        t = self.time.mono - np.arange(n - 1, -1, -1) * 10_000_000.0
        xyz = np.column_stack((np.full(n, 0.123456789), np.full(n, np.nan), np.full(n, 9.80665)))
        self.recorder.samples(Reading(t, xyz, self.time.mono, **more))

    def sent(self) -> list[dict[str, Any]]:
        found = []
        while (message := self.outbox.next_live()) is not None:
            decode_envelope(message.body)
            found.append(json.loads(message.body))
        return found


@pytest.fixture
async def outbox(tmp_path: Path) -> Any:
    box = Outbox(tmp_path / "outbox.db", 1 << 30, "b")
    await box.open()
    yield box
    await box.close()


async def test_a_tenth_of_a_second_is_one_message(outbox: Outbox) -> None:
    bench = Bench(outbox)
    bench.recorder.sensor(INFO)
    bench.read(error_ms=0.4567, tick=1234, tick_ns=1000.0)
    bench.time.go(0.04)
    bench.read(lost=3, error_ms=0.4567, tick=5678, tick_ns=1000.0)
    await asyncio.sleep(0.15)
    started, batch = bench.sent()
    assert started["type"] == "session_started"
    assert started["payload"]["sensor"] == {"name": "chest-1", "kind": "ADXL355", "rateHz": 100.0, "rangeG": 2.0}
    assert started["payload"]["startedAt"] == "2024-07-21T15:10:00.000Z"
    samples = batch["payload"]["samples"]
    assert [s["t"] for s in samples] == [START_MS + ms for ms in (-30, -20, -10, 0, 10, 20, 30, 40)]
    assert samples[0] == {"t": START_MS - 30, "az": 9.80665, "ax": 0.12346, "ay": None}
    assert batch["payload"]["lost"] == 3
    assert batch["payload"]["clock"] == {
        "errorMs": 0.457,
        "tick": 5678,
        "arrivalNs": bench.time.mono,
        "tickNs": 1000.0,
        "offsetNs": 1721574595000000000,
        "packets": [[1234, bench.time.mono - 40_000_000, 4], [5678, bench.time.mono, 4]],
    }
    assert (batch["session"], batch["boot"], batch["seq"]) == (bench.recorder.session, "b", 2)


async def test_what_is_sent_is_what_the_contract_reads(outbox: Outbox) -> None:
    bench = Bench(outbox)
    bench.recorder.sensor(INFO)
    bench.read()
    bench.recorder.flush()
    first, second = outbox.next_live(), outbox.next_live()
    assert first is not None
    assert second is not None
    assert decode_payload(decode_envelope(first.body).payload, SessionStarted).unit == "m/s2"
    assert len(decode_payload(decode_envelope(second.body).payload, SamplesBatch).samples) == 4


async def test_a_flood_is_cut_into_messages_the_relay_takes(outbox: Outbox) -> None:
    bench = Bench(outbox)
    bench.read(MAX_SAMPLES_PER_BATCH + 5, lost=2)
    bench.recorder.flush()
    batches = [body["payload"] for body in bench.sent() if body["type"] == "samples_batch"]
    assert [len(batch["samples"]) for batch in batches] == [MAX_SAMPLES_PER_BATCH, 5]
    assert [batch.get("lost", 0) for batch in batches] == [2, 0]


async def test_sensor_that_changes_is_described_again(outbox: Outbox) -> None:
    bench = Bench(outbox)
    bench.recorder.sensor(INFO)
    bench.recorder.sensor(INFO)
    bench.recorder.sensor(INFO._replace(rate_hz=200.0))
    described = bench.sent()
    assert [body["payload"]["sensor"]["rateHz"] for body in described] == [100.0, 200.0]
    assert len({body["session"] for body in described}) == 1


async def test_without_autostart_samples_wait_for_a_session(outbox: Outbox) -> None:
    bench = Bench(outbox, autostart=False)
    bench.recorder.sensor(INFO)
    bench.read()
    assert bench.recorder.unrecorded == 4
    wanted = "9d3c0b74-30a7-4f3e-8d3b-7d1f3c5c2f10"
    assert bench.recorder.begin(wanted) == wanted
    assert bench.recorder.begin(wanted) == wanted, "asked twice, begun once"
    bench.read()
    bench.recorder.end()
    bench.read()
    assert bench.recorder.unrecorded == 8
    assert [body["type"] for body in bench.sent()] == ["session_started", "samples_batch", "session_ended"]


@pytest.mark.parametrize(("away_s", "same"), [(10, True), (899, True), (901, False), (-30, True), (-5000, False)])
async def test_session_of_the_last_run(outbox: Outbox, away_s: int, same: bool) -> None:
    """A Pi without a battery may come up with a clock that is behind."""
    bench = Bench(outbox)
    seen = START_MS - away_s * 1000
    bench.recorder.take_up(SessionMark("11111111-1111-4111-8111-111111111111", seen - 60_000, seen))
    bench.recorder.sensor(INFO)
    types = [body["type"] for body in bench.sent()]
    if same:
        assert bench.recorder.session == "11111111-1111-4111-8111-111111111111"
        assert types == ["session_started"]
    else:
        assert bench.recorder.session not in (None, "11111111-1111-4111-8111-111111111111")
        assert types == ["session_ended", "session_started"]


async def test_session_that_was_ended_stays_ended(outbox: Outbox) -> None:
    bench = Bench(outbox)
    bench.recorder.take_up(SessionMark("x", 1, START_MS, ended_at=START_MS))
    assert bench.recorder.session is None
    assert bench.sent() == []


async def test_clock_that_is_set_tears_once_and_drift_never(outbox: Outbox) -> None:
    bench = Bench(outbox)
    bench.recorder.sensor(INFO)
    with capture_logs() as logs:
        for second in range(6):
            bench.time.go(1.0)
            if second < 3:
                bench.time.wall += 300_000_000 if second == 0 else 0
            if second == 3:
                bench.time.wall += 40_000_000_000
            bench.read(1)
            bench.recorder.flush()
    assert [(entry["event"], entry["by_ms"]) for entry in logs] == [("clock_stepped", 40_300)]
    t = [body["payload"]["samples"][0]["t"] for body in bench.sent() if body["type"] == "samples_batch"]
    assert np.diff(t).tolist() == [1000, 1000, 41_300, 1000, 1000]
    assert bench.wall.steps == 1
