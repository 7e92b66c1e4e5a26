"""Three relays, three NATS servers and PostgreSQL on one machine, compared with one relay alone in the same run.
Everything shares the machine's cores, so read the ratios.

`python -m tests.bench.bench_cluster`.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import nats
from websockets.asyncio.client import connect

from tests.bench.rows import Row, show
from tests.cluster.program import ClusterProgram, pause
from tests.peers import start_homeside
from tests.programs import RelayProgram

KITS, VIEWERS, SECONDS = 4, 120, 8
STEPS = (50, 100, 150, 200, 400)
EXPIRING, EXPIRE_MS = 30, 8_000
PROGRAMS = ("relay-1", "relay-2", "relay-3", "nats-1", "nats-2", "nats-3", "postgres")
BARE_S = 3.0
BODY = b"x" * 800
"""About what a message of ten samples is."""


def cpu_s(pid: int) -> float:
    """Processor seconds of a process and its children so far."""
    total = 0.0
    for one in (pid, *children(pid)):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def load(
    brokers: list[str],
    relays: list[str],
    kits: int,
    viewers: int,
    seconds: float,
    midway: Callable[[], None] | None = None,
) -> dict[str, Any]:
    words = ["--kits", str(kits), "--viewers", str(viewers), "--seconds", str(seconds), "--patience", "60", "--json"]
    child = start_homeside("load", *words, "--broker", ",".join(brokers), "--relay", ",".join(relays))
    if midway is not None:
        pause(seconds / 2)
        midway()
    assert child.wait(seconds + 240) == 0, child.tail()
    return child.entries()[-1]


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        alone = _alone(Path(folder) / "alone")
        cluster = ClusterProgram(Path(folder) / "cluster")
        try:
            return _cluster(cluster, alone)
        finally:
            cluster.stop()


def _alone(data: Path) -> float:
    relay = RelayProgram(data)
    relay.hears_kits()
    before = cpu_s(relay.child.pid)
    said = load([f"mqtt://127.0.0.1:{relay.mqtt_port}"], [relay.http], KITS, VIEWERS, SECONDS)
    spent = cpu_s(relay.child.pid) - before
    relay.stop()
    return float(said["viewers"]["points"]) / spent


def _cluster(cluster: ClusterProgram, alone: float) -> list[Row]:
    brokers = [f"mqtt://127.0.0.1:{port}" for port in cluster.mqtt_ports]
    showing = [cluster.pid(name) for name in ("relay-1", "relay-2")]
    before = [cpu_s(pid) for pid in showing]
    said = load(brokers, cluster.relays[:2], KITS, VIEWERS, SECONDS)
    spent = sum(cpu_s(pid) for pid in showing) - sum(before)
    fan_out = said["viewers"]["points"] / spent
    table = [
        Row("points shown per processor second, two relays of a cluster", fan_out, "1/s", "one relay alone", alone)
    ]
    table += _ingest(cluster, brokers)
    table += _failover(cluster, brokers)
    table.append(asyncio.run(_expiry(cluster)))
    return table


def _ingest(cluster: ClusterProgram, brokers: list[str]) -> list[Row]:
    """Messages of ten samples, ten a second a kit, until acknowledgements take longer than two seconds."""
    best, late, spent = 0.0, 0.0, dict[str, float]()
    for kits in STEPS:
        before = {name: cpu_s(cluster.pid(name)) for name in PROGRAMS}
        said = load(brokers, cluster.relays, kits, 0, 8.0)["kits"]
        if said["waiting"] or said["ackMs"]["p99"] > 2000:
            break
        best, late = float(kits * 10), said["ackMs"]["p99"]
        spent = {name: cpu_s(cluster.pid(name)) - before[name] for name in PROGRAMS}
    bare = asyncio.run(_bare_stream(cluster.nats))
    copied = asyncio.run(_bare_copy(cluster.database))
    name = "messages stored through MQTT, stream and database"
    return [
        Row(name, best, "1/s", "bare JetStream publish, 3 copies", bare),
        Row(name, best, "1/s", "bare COPY of the same bytes", copied),
        Row("acknowledgement at that rate, p99", late, "ms", "goal", 2000.0),
        *(
            Row(f"processor a message there, {kind}", 1000 * sum_of(spent, kind) / (best * 8), "ms")
            for kind in ("relay", "nats", "postgres")
            if best
        ),
    ]


def sum_of(spent: dict[str, float], kind: str) -> float:
    return sum(used for name, used in spent.items() if name.startswith(kind))


async def _bare_stream(servers: list[str]) -> float:
    client = await nats.connect(servers)
    stream = client.jetstream()
    await stream.add_stream(name="BARE", subjects=["bare"], num_replicas=3)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < BARE_S:
        await asyncio.gather(*(stream.publish("bare", BODY, timeout=10) for _ in range(200)))
        done += 200
    took = time.perf_counter() - began
    await stream.delete_stream("BARE")
    await client.close()
    return done / took


async def _bare_copy(database: str) -> float:
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE bare (id bigint, body bytea)")
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < BARE_S:
        await connection.copy_records_to_table("bare", records=[(done + k, BODY) for k in range(1000)])
        done += 1000
    took = time.perf_counter() - began
    await connection.execute("DROP TABLE bare")
    await connection.close()
    return done / took


def _failover(cluster: ClusterProgram, brokers: list[str]) -> list[Row]:
    gone = load(brokers, cluster.relays, 4, 12, 16.0, lambda: cluster.kill("relay-1"))
    cluster.wait_ready(120)
    leader = asyncio.run(_leader(cluster.nats))
    elected = load(brokers, cluster.relays, 12, 0, 16.0, lambda: cluster.kill(leader))
    cluster.wait_ready(120)
    away = gone["viewers"]["awayS"] or {"max": 0.0}
    return [
        Row("a relay is killed: longest that one of its viewers was without the line", away["max"], "s", "goal", 3.0),
        Row(
            "the leader of NATS is killed: latest acknowledgement",
            elected["kits"]["ackMs"]["max"] / 1000,
            "s",
            "goal",
            8.0,
        ),
    ]


async def _expiry(cluster: ClusterProgram) -> Row:
    """Timers run out just after a relay was killed, whose turn a third of them were: how late the last is."""
    headers = {"Authorization": f"Bearer {cluster.token()}"}
    names = [f"late-{number}" for number in range(EXPIRING)]
    async with httpx.AsyncClient(base_url=cluster.care[0], headers=headers, timeout=30) as client:
        heard, first_s = [], time.monotonic() + EXPIRE_MS / 1000
        for name in names:
            seat = {"participant_id": "a", "participant_index": 0, "total_time_ms": EXPIRE_MS}
            body = {"session_id": name, "sync_mode": "per_participant", "participants": [seat]}
            assert (await client.post("/v1/sessions", json=body)).status_code == 201
            due_s = time.monotonic() + EXPIRE_MS / 1000
            assert (await client.post(f"/v1/sessions/{name}/start", json={})).status_code == 200
            heard.append(asyncio.create_task(_expired(cluster.care[0], name, headers, due_s)))
        await asyncio.sleep(max(0.0, first_s - 0.2 - time.monotonic()))
        cluster.kill("relay-2")
        late = await asyncio.gather(*heard)
    return Row("a relay is killed: latest word that a timer ran out", max(late), "s", "goal", 1.0)


async def _expired(base: str, name: str, headers: dict[str, str], due_s: float) -> float:
    """Seconds between the moment a timer was to run out and word that it had; the request to start it included."""
    async with connect(f"{base.replace('http', 'ws', 1)}/sessions/{name}", additional_headers=headers) as socket:
        while json.loads(await asyncio.wait_for(socket.recv(), 30))["type"] != "TIME_EXPIRED":
            pass
        return time.monotonic() - due_s


async def _leader(servers: list[str]) -> str:
    client = await nats.connect(servers)
    info = await client.jetstream().stream_info("HOMESIDE_INGEST")
    await client.close()
    assert info.cluster is not None
    return str(info.cluster.leader)


if __name__ == "__main__":
    show("Cluster", rows())
