"""One session to many viewers: the relay's rooms beside bare libraries and nginx, same load, same run.

`python -m tests.bench.bench_fanout`. Server on one core, all viewers on another; ratios are what to read.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from tests.bench.fanout_servers import SIZE, payload
from tests.bench.rows import Row, show
from tests.peers import REPO_ROOT, free_port

VIEWERS, RATE, SECONDS = 1000, 20, 5
FRAME = SIZE + 4
_STAMP = slice(10, 29)


class Viewer(asyncio.Protocol):
    """The cheapest reader that still checks: counts bytes, and takes the delay of the last frame of each read."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.open = False
        self.left = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport = transport
        transport.write(  # type: ignore[attr-defined]
            f"GET {self.tally.path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        data = self.left + data if self.left else data
        if not self.open:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self.left = head
                return
            assert b" 101 " in head, head
            self.open = True
            self.tally.opened += 1
        whole = len(data) // FRAME
        self.tally.frames += whole
        for k in range(whole):
            stamp = data[k * FRAME + _STAMP.start : k * FRAME + _STAMP.stop]
            self.tally.delays.append(now - int(stamp))
        self.left = data[whole * FRAME :]


@dataclass
class Tally:
    path: str = "/"
    opened: int = 0
    frames: int = 0
    delays: list[int] = field(default_factory=list)


class Server:
    """A server process of tests.bench.fanout_servers, spoken to by its standard input."""

    def __init__(self, kind: str) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "tests.bench.fanout_servers", kind, str(self.port)]
        self.process = subprocess.Popen(
            command, cwd=REPO_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._line()

    def ask(self, words: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        return self._line()

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


async def _connect(tally: Tally, port: int, count: int) -> list[asyncio.BaseTransport]:
    loop = asyncio.get_running_loop()
    transports = []
    for _ in range(count):
        transport, _protocol = await loop.create_connection(lambda: Viewer(tally), "127.0.0.1", port)
        transports.append(transport)
    while tally.opened < count:
        await asyncio.sleep(0.01)
    return transports


async def _load(server: Server, viewers: int, rate: float, seconds: float) -> dict[str, float]:
    before = await asyncio.to_thread(server.ask, "idle")
    tally = Tally()
    transports = await _connect(tally, server.port, viewers)
    idle = await asyncio.to_thread(server.ask, "idle")
    done = await asyncio.to_thread(server.ask, f"publish {rate} {seconds}")
    cpu_before = time.process_time()
    wanted, deadline = viewers * done["sent"], time.monotonic() + 10
    while tally.frames < wanted and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    after = await asyncio.to_thread(server.ask, "idle")
    for transport in transports:
        transport.close()
    delays = np.array(tally.delays) / 1e6
    return {
        "delivered": tally.frames / wanted,
        "p50_ms": float(np.percentile(delays, 50)),
        "p99_ms": float(np.percentile(delays, 99)),
        "cpu_s": after["cpu_s"] - idle["cpu_s"],
        "per_s": tally.frames / done["wall_s"],
        "kb_per_viewer": (idle["rss_kb"] - before["rss_kb"]) / viewers,
        "drain_cpu_s": time.process_time() - cpu_before,
    }


async def _measure(kind: str, viewers: int, rate: float, seconds: float) -> dict[str, float]:
    server = Server(kind)
    try:
        return await _load(server, viewers, rate, seconds)
    finally:
        server.stop()


async def _ceiling(kind: str) -> float:
    """Deliveries a second when asked for more than it can: the most of three rates that all arrived."""
    best = 0.0
    for rate in (90, 120, 150, 180):
        found = await _measure(kind, VIEWERS, rate, 4)
        best = max(best, found["per_s"] * found["delivered"])
    return best


async def _nchan(viewers: int, rate: float, seconds: float) -> dict[str, float] | None:
    """nginx with nchan, told to publish by HTTP; None where it is not installed."""
    modules = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
    if not modules.exists():
        return None
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(
            f"load_module {modules};\ndaemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/log;\n"
            "events { worker_connections 4096; }\n"
            f"http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;"
            f" fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
            f"server {{ listen 127.0.0.1:{port}; location = /pub {{ nchan_publisher; nchan_channel_id a; }}"
            " location = /sub { nchan_subscriber websocket; nchan_channel_id a; } } }\n"
        )
        process = subprocess.Popen(["nginx", "-c", str(config), "-p", folder], stderr=subprocess.DEVNULL)
        os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0) | {0})})
        try:
            return await _load_nchan(process, port, viewers, rate, seconds)
        finally:
            process.terminate()
            process.wait()


async def _load_nchan(process: Any, port: int, viewers: int, rate: float, seconds: float) -> dict[str, float]:
    for _ in range(200):
        with contextlib.suppress(OSError):
            _, probe = await asyncio.open_connection("127.0.0.1", port)
            probe.close()
            break
        await asyncio.sleep(0.02)
    tally = Tally(path="/sub")
    transports = await _connect(tally, port, viewers)
    cpu = _cpu_of(process.pid)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    loop = asyncio.get_running_loop()
    start, total = loop.time(), round(rate * seconds)
    for number in range(total):
        await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
        head = b"POST /pub HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % SIZE
        writer.write(head + payload(time.monotonic_ns()))
        await reader.readuntil(b"\r\n\r\n")
    deadline = time.monotonic() + 5
    while tally.frames < viewers * total and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    delays = np.array(tally.delays) / 1e6
    for transport in transports:
        transport.close()
    return {
        "delivered": tally.frames / (viewers * total),
        "p50_ms": float(np.percentile(delays, 50)),
        "p99_ms": float(np.percentile(delays, 99)),
        "cpu_s": _cpu_of(process.pid) - cpu,
        "per_s": tally.frames / (loop.time() - start),
    }


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rows() -> list[Row]:
    """Delivery, delay, CPU and memory of each server under the same load, then the ceiling."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_rows())
    finally:
        os.sched_setaffinity(0, set(cores))


async def _rows() -> list[Row]:
    found = {
        kind: await _measure(kind, VIEWERS, RATE, SECONDS) for kind in ("websockets", "homeside", "fastapi", "picows")
    }
    if nchan := await _nchan(VIEWERS, RATE, SECONDS):
        found["nginx nchan"] = nchan
    ours, bare = found["homeside"], found["websockets"]
    load = f"{VIEWERS} viewers × {RATE}/s × {SIZE} B"
    table = [
        Row(f"{load}: delivered", ours["delivered"], "of all", "goal", 1.0),
        Row(f"{load}: p99", ours["p99_ms"], "ms", "goal", 10.0),
        Row(f"{load}: memory per idle viewer", ours["kb_per_viewer"], "kB", "goal", 32.0),
    ]
    for kind, peer in found.items():
        if kind != "homeside":
            table += [
                Row(f"{load}: CPU in {SECONDS} s", ours["cpu_s"], "s", kind, peer["cpu_s"]),
                Row(f"{load}: p50", ours["p50_ms"], "ms", kind, peer["p50_ms"]),
                Row(f"{load}: p99", ours["p99_ms"], "ms", kind, peer["p99_ms"]),
            ]
    assert bare["delivered"] > 0
    return [*table, Row("ceiling, one core", await _ceiling("homeside"), "deliveries/s", "goal", 120_000.0)]


if __name__ == "__main__":
    show("Fan-out", rows())
