"""A fault run: a cluster under load, programs harmed at moments a seed decides, and what became of everything.

Kits and viewers are `homeside load`; the timers' clients are here, and write down when each request began and ended.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.cluster.disturbances import Wallclocks, fast_disk, freeze, slow_disk, thaw
from tests.cluster.linearizability import Operation, first_fault
from tests.cluster.program import ClusterProgram, pause
from tests.peers import Child, start_homeside

KITS, VIEWERS, BOARDS, PLAYERS = 12, 6, 3, 4
MINUTES_MS = 86_400_000
VICTIMS = ("relay-1", "relay-2", "relay-3", "nats-1", "nats-2", "nats-3", "postgres")
HARMS = {
    "relay": ("kill", "kill", "freeze", "clock"),
    "nats": ("kill", "kill", "freeze", "slow disk"),
    "postgres": ("kill", "freeze", "slow disk", "clock"),
}
"""What may happen to each: kill -9, a stop for seconds, slow writes, a step of its wall clock to -2, 0 or +2 s."""


@dataclass
class Report:
    """What happened. `faults` counts what was done; `load` is what `homeside load` said at its end."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    load: dict[str, Any] = field(default_factory=dict)
    operations: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


def run(cluster: ClusterProgram, clocks: Wallclocks, seconds: float, seed: int) -> Report:
    """Break things for `seconds`, let them heal, check."""
    report, chance = Report(seed), random.Random(seed)
    boards = Boards(cluster)
    load = start_load(cluster, seconds)
    boards.start()
    deadline = time.monotonic() + seconds
    pause(3.0)
    while time.monotonic() < deadline - 6:
        break_something(cluster, clocks, chance, report)
    boards.stop()
    cluster.wait_ready(120.0)
    assert load.wait(seconds + 240) in (0, 1), load.tail()
    report.load = next(entry for entry in load.entries() if entry.get("event") == "load_done")
    report.operations = boards.counted()
    report.broken = boards.faults()
    return report


def start_load(cluster: ClusterProgram, seconds: float, kits: int = KITS, viewers: int = VIEWERS) -> Child:
    words = ["--kits", str(kits), "--viewers", str(viewers), "--seconds", str(seconds), "--patience", "120"]
    words += ["--broker", ",".join(f"mqtt://127.0.0.1:{port}" for port in cluster.mqtt_ports)]
    return start_homeside("load", *words, "--relay", ",".join(cluster.relays), "--check", "--json")


def break_something(cluster: ClusterProgram, clocks: Wallclocks, chance: random.Random, report: Report) -> None:
    """Harm one or two programs; seconds later those that run are well again, but for their clocks."""
    victims = chance.sample(VICTIMS, chance.choice((1, 1, 2)))
    if sum(name.startswith("nats") for name in victims) > 1:
        victims = victims[:1]
    with ExitStack() as healing:
        for name in victims:
            kind = name.split("-")[0]
            harm = chance.choice(HARMS[kind])
            report.faults[f"{harm} {kind}"] += 1
            if harm == "clock":
                clocks.step(cluster.pid(name), chance.choice((-2.0, 0.0, 2.0)))
            else:
                harm_one(cluster, name, harm, healing)
        pause(chance.uniform(1.0, 4.0))
    pause(chance.uniform(1.0, 4.0))


def harm_one(cluster: ClusterProgram, name: str, harm: str, healing: ExitStack) -> None:
    pid = cluster.pid(name)
    if harm == "kill":
        cluster.kill(name)
    elif harm == "freeze":
        healing.callback(thaw, freeze(pid))
    else:
        healing.callback(fast_disk, slow_disk(pid))


class Boards:
    """Some timer sessions, and players who read and swap them through any relay, each in a thread."""

    def __init__(self, cluster: ClusterProgram) -> None:
        self._bases = cluster.care
        self._headers = {"Authorization": f"Bearer {cluster.token()}"}
        self._ending = threading.Event()
        self._histories: dict[str, list[Operation]] = {f"board-{uuid4().hex[:8]}": [] for _ in range(BOARDS)}
        self._players = [
            threading.Thread(target=self._play, args=(name, number), daemon=True)
            for name in self._histories
            for number in range(PLAYERS)
        ]
        for name in self._histories:
            self._begin(name)

    def _begin(self, name: str) -> None:
        seats = [
            {"participant_id": who, "participant_index": index, "total_time_ms": MINUTES_MS}
            for index, who in enumerate("ab")
        ]
        with httpx.Client(base_url=self._bases[0], headers=self._headers, timeout=20.0) as client:
            body = {"session_id": name, "sync_mode": "per_participant", "participants": seats}
            assert client.post("/v1/sessions", json=body).status_code == 201
            assert client.post(f"/v1/sessions/{name}/start", json={}).status_code == 200

    def start(self) -> None:
        for player in self._players:
            player.start()

    def stop(self) -> None:
        self._ending.set()
        for player in self._players:
            player.join(20.0)

    def _play(self, name: str, number: int) -> None:
        chance = random.Random(f"{name}-{number}")
        seen, turn = 2, number
        with httpx.Client(headers=self._headers, timeout=3.0) as client:
            while not self._ending.wait(chance.uniform(0.1, 0.5)):
                base = self._bases[turn % len(self._bases)]
                turn += chance.choice((0, 1))
                if chance.random() < 0.5:
                    seen = self._read(client, base, name) or seen
                else:
                    seen = self._swap(client, base, name, seen) or seen

    def _read(self, client: httpx.Client, base: str, name: str) -> int | None:
        began = time.monotonic()
        try:
            answer = client.get(f"{base}/v1/sessions/{name}")
        except httpx.HTTPError:
            return None
        if answer.status_code != 200:
            return None
        version = int(answer.json()["version"])
        self._histories[name].append(Operation("read", version, began, time.monotonic()))
        return version

    def _swap(self, client: httpx.Client, base: str, name: str, version: int) -> int | None:
        began = time.monotonic()
        try:
            answer = client.post(f"{base}/v1/sessions/{name}/switch", json={"expected_version": version})
            code = answer.status_code
        except httpx.ConnectError:
            return None
        except httpx.HTTPError:
            code = 503
        if code == 429:
            return None
        outcome: Any = {200: "ok", 409: "refused"}.get(code, "unknown")
        self._histories[name].append(Operation("swap", version, began, time.monotonic(), outcome))
        return version + 1 if outcome == "ok" else None

    def counted(self) -> Counter[str]:
        every = [operation for history in self._histories.values() for operation in history]
        return Counter(f"{operation.kind} {operation.outcome}" for operation in every)

    def faults(self) -> list[str]:
        """For each history that could not have happened: where it stops making sense."""
        found = []
        for name, history in self._histories.items():
            fault = first_fault(list(history), 2)
            if fault is not None:
                around = [one for one in history if abs(one.began - fault.began) < 2.0]
                found.append(f"{name}: {fault}\n" + "\n".join(f"  {one}" for one in around))
        return found


def told(report: Report) -> str:
    return json.dumps(
        {"seed": report.seed, "faults": report.faults, "operations": report.operations, **report.load}, default=dict
    )
