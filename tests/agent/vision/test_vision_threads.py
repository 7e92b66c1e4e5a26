"""Where a model's threads run, in the process that looks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.agent.vision.looked import Looking, worker_pid
from tests.agent.vision.pictures import photographs


def allowed(pid: int) -> list[set[int]]:
    """The processors each thread may use."""
    return [os.sched_getaffinity(int(task.name)) for task in Path(f"/proc/{pid}/task").iterdir()]


@pytest.mark.parametrize("threads", [1, 2])
async def test_threads_that_wait_for_each_other_have_a_processor_each(data_dir: Path, threads: int) -> None:
    processors = os.sched_getaffinity(0)
    if len(processors) < 2:
        pytest.skip("a second processor")
    async with Looking("hands", "litert", threads=threads) as looking:
        await looking.show(list(photographs(data_dir).values())[:2])
        pid = worker_pid("litert", str(threads))
        mine, others = os.sched_getaffinity(pid), allowed(pid)
    if threads == 1:
        assert all(one == processors for one in others)
    else:
        alone = [one for one in others if len(one) == 1]
        assert len(mine) == 1
        assert {next(iter(one)) for one in alone} > mine, "the model's second thread is elsewhere"
