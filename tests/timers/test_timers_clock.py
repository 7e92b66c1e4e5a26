"""The timescale: a step of the wall clock changes nothing, within a run and across a restart."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from core.contracts.timers import CreateSession, Mode
from relay.clock import SteadyClock, boot_id, wall_anchor_ns
from relay.db.engine import migrate, open_engine, sqlite_url
from relay.process.metrics import Metrics
from relay.timers import rules
from relay.timers.plans import begin
from relay.timers.store import Store

HOUR_NS = 3_600_000_000_000


@pytest.mark.parametrize("step_ns", [HOUR_NS, -HOUR_NS])
def test_a_step_of_the_wall_clock_is_not_seen(step_ns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, wall = SteadyClock(), time.time_ns
    before = clock.now_ms()
    monkeypatch.setattr(time, "time_ns", lambda: wall() + step_ns)
    assert abs(wall_anchor_ns() - clock.anchor_ns - step_ns) < 1e9
    assert 0 <= clock.now_ms() - before < 1000


async def test_the_anchor_outlives_a_run_while_sessions_need_it(tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path))
    await migrate(engine)
    store, anchor = Store(engine, Metrics(), rest_s=0), wall_anchor_ns() + HOUR_NS
    await store.keep_anchor("this-boot", anchor)
    assert await store.anchor("this-boot") is None, "nothing runs, so the wall may be believed anew"
    state = rules.start(begin(CreateSession("s", Mode.COUNT_UP), 0), 0).state
    await store._commit({"s": state}, [])
    assert await store.anchor("this-boot") == anchor
    assert await store.anchor("another-boot") is None
    assert await store.anchor("") is None
    await engine.dispose()


def test_this_machine_knows_its_boot() -> None:
    assert boot_id() == boot_id() != ""
