"""Each mode walked through from end to end, with its sockets and its store, in virtual time."""

from __future__ import annotations

import asyncio
import heapq
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from core.contracts import timers
from core.contracts.timers import CreateSession, Switch
from relay.db.engine import migrate, open_engine, sqlite_url
from relay.process.metrics import Metrics
from relay.process.supervisor import supervise
from relay.rooms import Audience, Member
from relay.timers.live import Live
from relay.timers.service import Bounds, TimersService
from relay.timers.store import Store

T0 = 1_760_970_600_000


class VirtualTime:
    """A timescale that stands still until it is told to pass; what is due happens at its moment, in order."""

    def __init__(self) -> None:
        self.now = T0
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._cancelled: set[int] = set()
        self._number = count()

    def now_ms(self) -> int:
        return self.now

    def call_at(self, when_ms: int, callback: Callable[[], None]) -> Call:
        number = next(self._number)
        heapq.heappush(self._due, (when_ms, number, callback))
        return Call(self._cancelled, number)

    def pass_ms(self, wait_ms: int) -> None:
        ends = self.now + wait_ms
        while self._due and self._due[0][0] <= ends:
            when, number, callback = heapq.heappop(self._due)
            self.now = max(self.now, when)
            if number not in self._cancelled:
                callback()
        self.now = ends


class Call:
    def __init__(self, cancelled: set[int], number: int) -> None:
        self._cancelled, self._number = cancelled, number

    def cancel(self) -> None:
        self._cancelled.add(self._number)


class Ear:
    """The reading end of a room: every frame as the message in it."""

    paused, waiting_bytes = False, 0

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    def write_frame(self, frame: bytes) -> None:
        self.heard.append(json.loads(frame[frame.index(b"{") :]))

    def end(self, code: int, reason: str = "") -> None:
        self.heard.append({"type": "closed", "code": code})

    def kinds(self) -> list[str]:
        return [message["type"] for message in self.heard]

    def turns(self) -> list[str | None]:
        return [one["payload"]["active_participant_id"] for one in self.heard if one["type"] == "SESSION_UPDATE"]


class Walk:
    """One session and one who listens."""

    def __init__(self, service: TimersService, time: VirtualTime, live: Live, ear: Ear) -> None:
        self.service, self.time, self.live, self.ear = service, time, live, ear

    def switch(self, after_ms: int) -> dict[str, Any]:
        self.time.pass_ms(after_ms)
        return self.service.switch(self.live, Switch())

    def view(self) -> dict[str, Any]:
        return self.service.view(self.live)

    def times(self) -> list[int]:
        return [one["total_time_ms"] for one in self.view()["participants"]]


@asynccontextmanager
async def walk(folder: Path, mode: str, **wanted: Any) -> AsyncIterator[Walk]:
    engine = open_engine(sqlite_url(folder))
    await migrate(engine)
    time, metrics = VirtualTime(), Metrics()
    store = Store(engine, metrics, rest_s=0)
    service = TimersService(store, time, metrics, Bounds(sessions=10, sockets=10, switches_per_s=10))
    writing = asyncio.create_task(supervise("store", store.run))
    body = {"session_id": "walk", "sync_mode": mode, "warning_thresholds_ms": {"low": 0, "critical": 0}, **wanted}
    await service.create(timers.decode(json.dumps(body).encode(), CreateSession))
    live, ear = await service.find("walk"), Ear()
    service.enter(live, Member(ear, Audience.VIEWER))
    service.start(live, None)
    yield Walk(service, time, live, ear)
    await store.drained()
    kept = await store.find("walk")
    assert kept == live.state, "what is in memory is what is stored"
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await engine.dispose()


def people(*names: str, **each: Any) -> list[dict[str, Any]]:
    return [{"participant_id": name, **each} for name in names]


async def test_per_participant_each_on_an_own_clock(tmp_path: Path) -> None:
    players = people("patient", "therapist", total_time_ms=60_000)
    async with walk(tmp_path, "per_participant", participants=players, increment_ms=2000) as one:
        one.switch(5_000)
        one.switch(10_000)
        assert one.times() == [57_000, 52_000]
        one.time.pass_ms(57_000)
        assert one.ear.kinds()[-2:] == ["TIME_EXPIRED", "SESSION_UPDATE"]
        assert one.view()["action_applied"]["winner"] == "therapist"


async def test_per_cycle_rounds_that_change_by_themselves(tmp_path: Path) -> None:
    wanted = {"participants": people("squat", "rest"), "time_per_cycle_ms": 30_000, "auto_advance": True}
    async with walk(tmp_path, "per_cycle", **wanted) as one:
        one.time.pass_ms(29_999)
        assert (one.view()["active_participant_id"], one.times()) == ("squat", [1, 30_000])
        one.time.pass_ms(1)
        assert (one.view()["active_participant_id"], one.times()) == ("rest", [30_000, 30_000])
        one.switch(10_000)
        assert one.times() == [30_000, 30_000]
        one.time.pass_ms(90_000)
        assert one.ear.turns() == ["squat", "rest", "squat", "rest", "squat", "rest"]
        assert one.view()["status"] == "running"


async def test_per_group_only_the_active_groups_clock_runs(tmp_path: Path) -> None:
    groups = [
        {"group_id": "red", "total_time_ms": 60_000, "members": ["anna", "ben"]},
        {"group_id": "blue", "total_time_ms": 50_000, "members": ["carl"]},
    ]
    async with walk(tmp_path, "per_group", groups=groups) as one:
        assert one.switch(5_000)["active_participant_id"] == "carl"
        assert one.switch(7_000)["active_participant_id"] == "ben"
        one.time.pass_ms(3_000)
        view = one.view()
        assert [(group["group_id"], group["total_time_ms"]) for group in view["groups"]] == [
            ("red", 52_000),
            ("blue", 43_000),
        ]
        assert one.times() == [52_000, 43_000, 52_000]
        one.time.pass_ms(52_000)
        assert one.view()["action_applied"]["winner"] == "blue"


async def test_global_one_countdown_for_everybody(tmp_path: Path) -> None:
    async with walk(tmp_path, "global", total_time_ms=90_000) as one:
        one.time.pass_ms(30_000)
        view = one.view()
        assert (view["total_time_ms"], view["active_participant_id"], view["participants"]) == (60_000, None, [])
        one.service.pause(one.live, None)
        one.time.pass_ms(500_000)
        one.service.resume(one.live, None)
        one.time.pass_ms(59_999)
        assert one.view()["status"] == "running"
        one.time.pass_ms(1)
        assert (one.view()["status"], one.view()["total_time_ms"]) == ("expired", 0)


async def test_count_up_a_stopwatch_with_an_end(tmp_path: Path) -> None:
    async with walk(tmp_path, "count_up", participants=people("left", "right"), max_time_ms=20_000) as one:
        one.switch(4_000)
        one.time.pass_ms(3_000)
        assert (one.times(), one.view()["time_used_ms"]) == ([4_000, 3_000], 7_000)
        one.time.pass_ms(13_000)
        assert (one.view()["status"], one.view()["total_time_ms"]) == ("expired", 20_000)


async def test_a_skipped_turn_and_its_penalty(tmp_path: Path) -> None:
    action = {"type": "skip_cycle", "penalty": 4_000}
    wanted = {"participants": people("a", "b"), "time_per_cycle_ms": 10_000, "action_on_timeout": action}
    async with walk(tmp_path, "per_cycle", **wanted) as one:
        one.time.pass_ms(10_000)
        assert (one.view()["status"], one.view()["active_participant_id"]) == ("running", "b")
        assert one.times() == [6_000, 10_000]
        one.switch(1_000)
        one.time.pass_ms(6_000)
        assert one.view()["active_participant_id"] == "b"
        expired = [message["payload"] for message in one.ear.heard if message["type"] == "TIME_EXPIRED"]
        assert [one["expired_participant_id"] for one in expired] == ["a", "a"]
        assert expired[0]["action_applied"] == {**action, "next_participant_id": "b"}


async def test_notify_is_an_event_and_no_more(tmp_path: Path) -> None:
    players = people("a", "b", total_time_ms=5_000)
    async with walk(tmp_path, "per_participant", participants=players, action_on_timeout={"type": "notify"}) as one:
        one.time.pass_ms(60_000)
        assert one.ear.kinds().count("TIME_EXPIRED") == 1
        assert (one.view()["status"], one.times()) == ("running", [0, 5_000])
        assert one.switch(0)["active_participant_id"] == "b"


async def test_auto_action_does_what_it_names(tmp_path: Path) -> None:
    for number, (does, status) in enumerate((("pause", "paused"), ("complete", "completed"), ("switch", "running"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        action = {"type": "auto_action", "action": does}
        players = people("a", "b", total_time_ms=5_000)
        async with walk(folder, "per_participant", participants=players, action_on_timeout=action) as one:
            one.time.pass_ms(5_000)
            assert one.view()["status"] == status
            assert one.view()["active_participant_id"] == {"paused": "a", "completed": None, "running": "b"}[status]
