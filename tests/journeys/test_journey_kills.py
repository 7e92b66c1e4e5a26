"""kill -9 of agent, relay and broker at random moments: nothing acknowledged is lost, nothing is stored twice."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.line import Line, Witness, running_line
from tests.peers import Mosquitto

KILLS, KILLS_IN_SOAK = 50, 1000


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path / "broker")
    mosquitto.start()
    yield mosquitto
    mosquitto.stop()


@pytest.mark.timeout(400)
def test_fifty_kills_lose_nothing_acknowledged(tmp_path: Path, broker: Mosquitto) -> None:
    _kill_and_compare(tmp_path, broker, KILLS, seed=11)


@pytest.mark.soak
def test_a_thousand_kills_lose_nothing_acknowledged(tmp_path: Path, broker: Mosquitto) -> None:
    _kill_and_compare(tmp_path, broker, KILLS_IN_SOAK, seed=12)


def _kill_and_compare(folder: Path, broker: Mosquitto, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    with running_line(folder, broker) as line:
        witness = Witness(broker.port)
        boots = 1
        for _ in range(kills):
            time.sleep(chance.uniform(0.05, 0.6))
            boots += _kill_one(line, chance)
        line.agent.wait_for_event("broker_connected")
        _settle(line, witness, boots)
        acknowledged = witness.acknowledged()
        witness.close()
        stored = line.stored()
    times = [sample["t"] for sample in stored]
    assert len(times) == len(set(times)), "a sample is stored twice"
    by_time = {sample["t"]: sample for sample in stored}
    lost = [key for key, samples in acknowledged.items() if any(by_time.get(s["t"]) != s for s in samples)]
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged batches are not stored"
    assert len(acknowledged) > kills / 4, "the line hardly ran between the kills"


def _kill_one(line: Line, chance: random.Random) -> int:
    """Kill and start again one of the three; gives how many boots of the agent that made."""
    victim = chance.choice(("agent", "relay", "broker"))
    if victim == "agent":
        line.agent.kill()
        line.agent = line.start_agent()
        return 1
    if victim == "relay":
        line.relay.kill()
        line.relay = line.relay.again()
        return 0
    assert line.broker is not None
    line.broker.kill()
    line.broker.start()
    return 0


def _settle(line: Line, witness: Witness, boots: int) -> None:
    """Wait until the last boot's messages are acknowledged again: the line is whole."""
    before = len(witness.acknowledged())
    deadline = time.monotonic() + 60
    while len(witness.acknowledged()) < before + 20:
        assert time.monotonic() < deadline, f"the line did not come back after {boots} boots:\n{line.agent.tail()}"
        time.sleep(0.1)
