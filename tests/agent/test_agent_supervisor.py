"""Supervision: for ever, with growing, jittered pauses; a line for what is expected, a traceback for what is not."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from itertools import count

import pytest
from structlog.testing import capture_logs

from agent.errors import PortError, RecordingUnusable
from agent.process.backoff import Backoff
from agent.process.supervisor import end, supervise
from tests.waiting import PATIENCE_S, comes


def test_pauses_double_up_to_a_bound_and_spread() -> None:
    middle = Backoff(0.5, 8.0, draw=lambda: 0.5)
    assert [middle.next() for _ in range(7)] == [0.5, 1, 2, 4, 8, 8, 8]
    middle.reset()
    assert middle.next() == 0.5
    rng = random.Random(3)
    spread = [Backoff(1.0, 1.0, draw=rng.random).next() for _ in range(200)]
    assert 0.5 <= min(spread) < 0.6
    assert 1.4 < max(spread) <= 1.5


async def test_runs_until_the_duty_is_done_and_tells_each_trouble_once() -> None:
    attempts = count()
    heard: list[str] = []

    async def duty() -> None:
        n = next(attempts)
        if n < 3:
            raise PortError("unplugged")
        if n == 3:
            raise ZeroDivisionError("ours")

    with capture_logs() as logs:
        await supervise("x", duty, Backoff(0.001, 0.002), troubled=heard.append)
    assert [entry["event"] for entry in logs] == ["duty_interrupted", "duty_failed"]
    assert logs[0]["code"] == "PORT_ERROR"
    assert "exc_info" in logs[1]
    assert heard == ["unplugged"] * 3 + ["ZeroDivisionError: ours"]


@pytest.mark.parametrize(("step", "pauses"), [(0, [1, 2, 4, 8, 8]), (1, [1, 1, 1, 1, 1])], ids=["none", "some"])
async def test_after_progress_the_pause_is_the_first_again(
    step: int, pauses: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    done, paused = count(), list[float]()
    made = 0

    async def duty() -> None:
        nonlocal made
        if next(done) < 5:
            made += step
            raise PortError("gone")

    async def sleep(pause: float) -> None:
        paused.append(pause)

    monkeypatch.setattr("agent.process.supervisor.asyncio.sleep", sleep)
    await supervise("x", duty, Backoff(1, 8, draw=lambda: 0.5), progress=lambda: made)
    assert paused == pauses


async def test_what_no_second_attempt_can_help_is_raised() -> None:
    async def duty() -> None:
        raise RecordingUnusable("no file")

    with pytest.raises(RecordingUnusable):
        await supervise("x", duty, Backoff(0.001, 0.002), fatal=RecordingUnusable)


async def test_ends_when_cancelled() -> None:
    attempts: list[int] = []

    async def duty() -> None:
        attempts.append(1)
        raise PortError("unplugged")

    task = asyncio.create_task(supervise("x", duty, Backoff(0.001, 0.002)))
    await comes(lambda: len(attempts) > 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_that_loses_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.process.supervisor.CANCEL_AGAIN_S", 0.01)

    async def deaf() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)

    task = asyncio.create_task(deaf(), name="deaf")
    await asyncio.sleep(0)
    with capture_logs() as logs:
        await asyncio.wait_for(end([task]), PATIENCE_S)
    assert task.cancelled()
    assert logs[0]["duties"] == ["deaf"]


async def test_a_fault_in_the_moment_of_cancellation_does_not_begin_it_again() -> None:
    attempts = count()

    async def duty() -> None:
        next(attempts)
        task.cancel()
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(3600))
            raise PortError("unplugged")

    task = asyncio.create_task(supervise("x", duty, Backoff(0.001, 0.002)))
    await asyncio.wait([task], timeout=PATIENCE_S)
    assert task.cancelled()
    assert next(attempts) == 1
