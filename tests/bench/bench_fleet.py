"""The operator's view and search of 10,000 kits, the list of kits that run a package, and what an idle agent uses."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import httpx

from core.contracts.fleet import report
from relay.db.engine import migrate, open_engine, sqlite_url
from relay.fleet.rules import Kit
from relay.fleet.store import FleetStore
from tests.bench.rows import Row
from tests.peers import Child, ended_afterwards, start_homeside
from tests.programs import RelayProgram, token

KITS = 10_000
ROUNDS = 9
SETTLE_S, WATCH_S = 5.0, 20.0


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        return [*_views(Path(folder) / "relay"), *_agent(Path(folder))]


def _views(data: Path) -> list[Row]:
    data.mkdir()
    asyncio.run(_fill(data))
    relay = RelayProgram(data)
    bearer = {"Authorization": f"Bearer {token(data, '--role', 'admin')}"}
    asked = [
        ("The page's first 100 of 10,000 kits", "/kits?limit=100", 200.0),
        ("All 10,000 kits", f"/kits?limit={KITS}", 200.0),
        ("A search through 10,000", "/kits?q=home-77&limit=100", 200.0),
        ("Every kit that runs a package", "/packages/numpy", 1000.0),
        ("How far a rollout to half of 10,000 is", "/rollouts/foreseen?version=1.5.0&percent=50", 200.0),
    ]
    try:
        with httpx.Client(base_url=f"{relay.http}/fleet/api/v1", headers=bearer, timeout=60) as client:
            return [_asked(client, *one) for one in asked]
    finally:
        relay.stop()


async def _fill(data: Path) -> None:
    engine = open_engine(sqlite_url(data))
    await migrate(engine)
    store = FleetStore(engine)
    said = {"state": "online", "version": "1.4.2", "packages": "d", "sources": [{"name": "ble", "batteryPercent": 81}]}
    now = int(time.time() * 1000)
    kits = [Kit(f"home-{n:05}", now, (f"ward {n % 40}",), None, now, True, report(said)) for n in range(KITS)]
    await store.keep_told(kits)
    await store.keep_packages("d", {f"package-{n}": "1.0.0" for n in range(150)} | {"numpy": "2.0.0"})
    await engine.dispose()


def _asked(client: httpx.Client, name: str, path: str, goal_ms: float) -> Row:
    """The slowest would be the first, which shows every kit anew: it is among those measured."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        assert client.get(path).status_code == 200
        took.append((time.perf_counter() - began) * 1000)
    return Row(f"{name}, slowest of {ROUNDS}", max(took), "ms", "goal", goal_ms)


def _agent(folder: Path) -> list[Row]:
    """At 200 Hz from a simulated sensor, to a relay on the same machine, without a camera."""
    with ended_afterwards() as children:
        relay = RelayProgram(folder / "other")
        children.append(relay.child)
        sensor = start_homeside("simulate", "--link", folder / "sensor", "--rate", "200")
        children.append(sensor)
        sensor.wait_until((folder / "sensor").exists, "its port")
        broker = f"mqtt://127.0.0.1:{relay.mqtt_port}"
        words = ("--serial", folder / "sensor", "--broker", broker, "--state", folder / "kit")
        agent = start_homeside("agent", *words)
        children.append(agent)
        agent.wait_for_event("broker_connected", 60.0)
        time.sleep(SETTLE_S)
        before, began = _spent_s(agent), time.monotonic()
        sizes = []
        while time.monotonic() - began < WATCH_S:
            sizes.append(_resident_mb(agent))
            time.sleep(1.0)
        core = (_spent_s(agent) - before) / (time.monotonic() - began) * 100
    return [
        Row("Agent at 200 Hz, resident", median(sizes), "MB", "goal", 120.0),
        Row("Agent at 200 Hz, of a core", core, "%", "goal", 5.0),
    ]


def _resident_mb(child: Child) -> float:
    text = Path(f"/proc/{child.process.pid}/status").read_text()
    return float(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def _spent_s(child: Child) -> float:
    fields = Path(f"/proc/{child.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    print(json.dumps([row._asdict() for row in rows()], indent=1))
