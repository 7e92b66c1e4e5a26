"""Cables are pulled between the machines of a cluster: the side without a majority refuses, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.contracts.topics import Lane, topic
from tests.cluster.machines import DATABASE, NET, SWITCH, Machines
from tests.cluster.program import pause
from tests.peers import Child
from tests.relay.kits import Kit

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
SECONDS = 40


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    found = Machines(Path(tmp_path_factory.mktemp("machines")))
    yield found
    found.stop()


def load(machines: Machines, kits: int = 4) -> Child:
    words = ["--kits", str(kits), "--viewers", "0", "--seconds", str(SECONDS), "--patience", "120", "--check", "--json"]
    where = ["--broker", ",".join(machines.brokers), "--relay", ",".join(machines.relays)]
    return machines.homeside(SWITCH, "load", *words, *where)


def judged(load: Child, kits: int = 4) -> None:
    """Everything that was acknowledged is stored, once, in order; and everything was acknowledged in the end."""
    assert load.wait(SECONDS + 240) == 0, load.tail()
    said = load.entries()[-1]
    assert said["kits"]["waiting"] == 0, said
    assert said["check"]["stored"] == said["check"]["expected"] >= kits * (SECONDS - 5) * 100, said
    assert [said["check"][name] for name in ("lost", "double", "disordered", "wrong")] == [0] * 4, said


def whole(machines: Machines) -> None:
    machines.programs[-1].wait_until(lambda: all(machines.ready(n) for n in (1, 2, 3)), "readiness of all", 90.0)


@pytest.mark.parametrize("lonely", [1, 2, 3])
def test_a_machine_alone_refuses_and_the_others_go_on(machines: Machines, lonely: int) -> None:
    others = [number for number in (1, 2, 3) if number != lonely]
    running = load(machines)
    pause(5.0)
    with machines.net.inside(lonely):
        kit = Kit(f"{NET}.{lonely}", f"alone-{lonely}")
        assert kit.connected.wait(30)
    try:
        machines.net.cable(lonely, "down")
        running.wait_until(lambda: not machines.ready(lonely), "refusal of the relay that is alone")
        said = {"type": "session_started", "session": kit.session, "boot": "b", "seq": 1, "payload": {}}
        kit.client.publish(topic(kit.name, Lane.LIVE), json.dumps(said), qos=1)
        running.wait_until(lambda: all(map(machines.ready, others)), "readiness of the majority")
        pause(3.0)
        assert not machines.ready(lonely)
        assert kit.acked("b") == set()
    finally:
        machines.net.cable(lonely, "up")
        kit.close()
    whole(machines)
    judged(running)


def test_all_machines_apart_refuse_and_nothing_is_lost(machines: Machines) -> None:
    running = load(machines)
    pause(5.0)
    for number in (1, 2, 3):
        machines.net.cable(number, "down")
    try:
        running.wait_until(lambda: not any(map(machines.ready, (1, 2, 3))), "refusal of all")
    finally:
        for number in (1, 2, 3):
            machines.net.cable(number, "up")
    whole(machines)
    judged(running)


def test_a_database_behind_a_cut_cable_is_waited_for(machines: Machines) -> None:
    running = load(machines)
    pause(5.0)
    machines.net.cable(DATABASE, "down")
    try:
        running.wait_until(lambda: not any(map(machines.ready, (1, 2, 3))), "refusal of all", 60.0)
    finally:
        machines.net.cable(DATABASE, "up")
    whole(machines)
    judged(running)
