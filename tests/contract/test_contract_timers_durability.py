"""Timers through a kill -9 in the middle of a thousand running sessions: every remaining time is right afterwards."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.contracts.scg import iso
from tests.contract.timers import chess, client, short
from tests.programs import RelayProgram

SESSIONS, SHORT = 1000, 50
WRITE_BEHIND_S = 0.1


def ms(iso: str) -> int:
    return round(datetime.fromisoformat(iso).timestamp() * 1000)


def left(body: dict[str, Any]) -> dict[str, int]:
    return {one["participant_id"]: one["total_time_ms"] for one in body["participants"]}


class Storm:
    """Sessions under constant switching; every answer with the moment it came."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.answers: dict[str, list[tuple[float, dict[str, Any]]]] = {}
        self.gate = asyncio.Semaphore(20)

    async def make(self, session: str, first_ms: int) -> None:
        async with self.gate:
            body = chess(session, participants=short(first_ms), increment_ms=0)
            assert (await self.http.post("/v1/sessions", json=body)).status_code == 201
            started = await self.http.post(f"/v1/sessions/{session}/start")
            assert started.status_code == 200
            state = await self.http.get(f"/v1/sessions/{session}")
            self.answers[session] = [(time.monotonic(), state.json())]

    async def switch(self, session: str) -> None:
        try:
            answer = await self.http.post(f"/v1/sessions/{session}/switch")
        except httpx.TransportError:
            return
        if answer.status_code == 200:
            self.answers[session].append((time.monotonic(), answer.json()))


async def test_a_kill_in_the_middle_costs_at_most_the_write_behind(tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path)
    try:
        killed_at, answers = await storm(relay)
        relay = relay.again()
        with client(relay) as timers:
            for number in range(SESSIONS):
                held(timers.get(f"s{number}"), answers[f"s{number}"], killed_at)
            for number in range(SHORT):
                state = timers.get(f"short{number}")
                assert (state["status"], state["participants"][0]["total_time_ms"]) == ("expired", 0)
                due = ms(answers[f"short{number}"][0][1]["cycle_started_at"]) + 12_000
                assert state["expired_at"] == iso(due)
    finally:
        relay.stop()


async def storm(relay: RelayProgram) -> tuple[float, dict[str, list[tuple[float, dict[str, Any]]]]]:
    with client(relay) as timers:
        headers = dict(timers.http.headers)
        async with httpx.AsyncClient(base_url=timers.http.base_url, headers=headers, timeout=60) as http:
            running = Storm(http)
            await asyncio.gather(*(running.make(f"s{number}", 600_000) for number in range(SESSIONS)))
            await asyncio.gather(*(running.make(f"short{number}", 12_000) for number in range(SHORT)))
            for start in range(0, SESSIONS - 200, 50):
                await asyncio.gather(*(running.switch(f"s{number}") for number in range(start, start + 50)))
            last = [asyncio.create_task(running.switch(f"s{number}")) for number in range(SESSIONS - 200, SESSIONS)]
            await asyncio.wait(last, return_when=asyncio.FIRST_COMPLETED)
            killed_at = time.monotonic()
            relay.kill()
            await asyncio.gather(*last)
    short_from = max(seen[0][0] for name, seen in running.answers.items() if name.startswith("short"))
    await asyncio.sleep(max(0.0, short_from + 12.0 - time.monotonic()))
    return killed_at, running.answers


def held(state: dict[str, Any], answers: list[tuple[float, dict[str, Any]]], killed_at: float) -> None:
    """The session stands where an answer left it: the last one, or one not older than the write-behind."""
    allowed = [body for at, body in answers[:-1] if killed_at - answers[-1][0] <= WRITE_BEHIND_S] + [answers[-1][1]]
    (then,) = [body for body in allowed if body["version"] == state["version"]] or [{}]
    assert then, (state["version"], [body["version"] for _, body in answers])
    passed = ms(state["server_time"]) - ms(then["server_time"])
    whose = state["active_participant_id"]
    expected = {name: time_ms - (passed if name == whose else 0) for name, time_ms in left(then).items()}
    assert left(state) == pytest.approx(expected, abs=10)
    assert abs(ms(state["server_time"]) - time.time() * 1000) < 5_000


async def test_a_restart_in_good_order_loses_nothing(tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path)
    with client(relay) as timers:
        session = timers.started()
        before = timers.post(session, "switch").json()
    assert relay.stop() == 0
    relay = relay.again()
    with client(relay) as timers:
        after = timers.get(session)
        passed = ms(after["server_time"]) - ms(before["server_time"])
        assert after["version"] == before["version"]
        assert left(after)["participant2-uuid"] == pytest.approx(600_000 - passed, abs=10)
    assert relay.stop() == 0
