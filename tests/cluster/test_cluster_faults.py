"""Programs are killed, stopped, slowed and put out of time under load: nothing is lost, doubled or out of order.

`make soak` runs it for half an hour (HOMESIDE_FAULT_S and HOMESIDE_FAULT_SEED choose otherwise); docs/durability.md
tells what came out.
"""

from __future__ import annotations

import os
import signal

import pytest

from tests.cluster import faultrun
from tests.cluster.disturbances import Wallclocks, freeze, thaw
from tests.cluster.program import ClusterProgram


def judge(report: faultrun.Report) -> None:
    """Fails, with the seed, on anything lost, doubled, disordered or impossible."""
    said = faultrun.told(report)
    check, kits = report.load["check"], report.load["kits"]
    assert (kits["waiting"], kits["rejected"]) == (0, 0), said
    assert check["expected"] > 0, said
    assert check["stored"] == check["expected"], said
    assert [check[name] for name in ("lost", "double", "disordered", "wrong", "unasked")] == [0] * 5, said
    assert report.load["viewers"]["doubles"] == 0, said
    assert report.operations["read ok"] > 0, said
    assert report.operations["swap ok"] > 0, said
    assert not report.broken, "\n".join([said, *report.broken])


@pytest.mark.timeout(400)
def test_random_faults_lose_nothing(cluster: ClusterProgram, clocks: Wallclocks) -> None:
    judge(faultrun.run(cluster, clocks, 22.0, seed=10))


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_random_faults_for_half_an_hour_lose_nothing(cluster: ClusterProgram, clocks: Wallclocks) -> None:
    seconds = float(os.environ.get("HOMESIDE_FAULT_S", "1800"))
    report = faultrun.run(cluster, clocks, seconds, seed=int(os.environ.get("HOMESIDE_FAULT_SEED", "2026")))
    print(faultrun.told(report))
    judge(report)


@pytest.mark.timeout(300)
def test_a_minority_refuses_instead_of_lying(cluster: ClusterProgram) -> None:
    """Two of three NATS servers stand still: relays say they are not ready, and nothing is acknowledged that would not
    be kept; when they go on, everything sent meanwhile is there."""
    load = faultrun.start_load(cluster, 8.0, kits=4, viewers=0)
    faultrun.pause(2.0)
    frozen = [pid for name in ("nats-2", "nats-3") for pid in freeze(cluster.pid(name))]
    try:
        cluster.until(lambda: not any(cluster.ready(relay) for relay in range(3)), "refusal of all relays")
    finally:
        thaw(frozen)
    cluster.wait_ready()
    assert load.wait(240) == 0, load.tail()
    assert load.entries()[-1]["check"]["expected"] >= 4 * 700
    cluster.signal("nats-2", signal.SIGCONT)
