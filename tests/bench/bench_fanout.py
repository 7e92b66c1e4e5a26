"""One session to many viewers: the relay's rooms, compared with bare WebSocket libraries and nginx under the same load
in the same run. The server has one core and all viewers another; read the ratios.

`python -m tests.bench.bench_fanout`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bench.crowd import Crowd
from tests.bench.fanout_servers import FIRST_CORE, SIZE, payload
from tests.bench.rows import Row, show
from tests.peers import REPO_ROOT, free_port

VIEWERS, RATE, SECONDS = 1000, 20, 5
LATE_S = 5.0
"""How long after the last message was made deliveries still count."""


class Server:
    """A server process of tests.bench.fanout_servers, spoken to by its standard input."""

    path = "/"

    def __init__(self, kind: str) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "tests.bench.fanout_servers", kind, str(self.port)]
        self.process = subprocess.Popen(
            command, cwd=REPO_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._line()

    def figures(self) -> dict[str, Any]:
        return self.ask("idle")

    def publish(self, rate: float, seconds: float) -> dict[str, Any]:
        return self.ask(f"publish {rate} {seconds}")

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


class Nchan:
    """nginx with nchan, told to publish by HTTP."""

    path = "/sub"
    module = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        config = folder / "nginx.conf"
        config.write_text(
            f"load_module {self.module};\ndaemon off;\nmaster_process off;\npid {folder}/pid;\n"
            f"error_log {folder}/log;\n"
            "events { worker_connections 4096; }\n"
            f"http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;"
            f" fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
            f"server {{ listen 127.0.0.1:{self.port}; location = /pub {{ nchan_publisher; nchan_channel_id a; }}"
            " location = /sub { nchan_subscriber websocket; nchan_channel_id a; } } }\n"
        )
        self.process = subprocess.Popen(["nginx", "-c", str(config), "-p", str(folder)], stderr=subprocess.DEVNULL)
        os.sched_setaffinity(self.process.pid, {FIRST_CORE})
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                break
            time.sleep(0.02)

    def figures(self) -> dict[str, Any]:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return {"cpu_s": (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), "rss_kb": 0}

    def publish(self, rate: float, seconds: float) -> dict[str, Any]:
        total, start = round(rate * seconds), time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port)) as line:
            for number in range(total):
                time.sleep(max(0.0, start + number / rate - time.monotonic()))
                head = b"POST /pub HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % SIZE
                line.sendall(head + payload(time.monotonic_ns()))
                line.recv(65_536)
        return {"sent": total, "wall_s": time.monotonic() - start}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@contextlib.contextmanager
def _running(kind: str) -> Iterator[Server | Nchan]:
    with tempfile.TemporaryDirectory() as folder:
        server = Nchan(Path(folder)) if kind == "nginx nchan" else Server(kind)
        try:
            yield server
        finally:
            server.stop()


def _measure(kind: str, viewers: int, rate: float, seconds: float) -> dict[str, float]:
    with _running(kind) as server:
        before = server.figures()
        with Crowd(server.port, server.path, viewers) as crowd:
            idle = server.figures()
            done: dict[str, Any] = {}
            publishing = threading.Thread(target=lambda: done.update(server.publish(rate, seconds)))
            publishing.start()
            wanted = viewers * round(rate * seconds)
            crowd.hear(lambda: wanted, 3 * seconds + LATE_S)
            publishing.join()
            after = server.figures()
            return {
                "delivered": crowd.frames / wanted,
                "p50_ms": crowd.delay_ms(50),
                "p99_ms": crowd.delay_ms(99),
                "cpu_s": after["cpu_s"] - idle["cpu_s"],
                "per_s": crowd.frames / done["wall_s"],
                "kb_per_viewer": (idle["rss_kb"] - before["rss_kb"]) / viewers,
            }


def _ceiling(kind: str) -> float:
    """Deliveries a second when asked for more than it can: the most of four rates."""
    found = [_measure(kind, VIEWERS, rate, 4) for rate in (120, 160, 200, 240)]
    return max(one["per_s"] * one["delivered"] for one in found)


def pinned(measure: Callable[[], list[Row]]) -> list[Row]:
    """`measure` with this process, the viewers, on the last core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        return measure()
    finally:
        os.sched_setaffinity(0, cores)


def rows() -> list[Row]:
    """Delivery, delay, CPU and memory of each server under the same load, then the ceiling."""
    return pinned(_rows)


def _rows() -> list[Row]:
    kinds = ["websockets", "homeside", "fastapi", "picows", *(["nginx nchan"] if Nchan.module.exists() else [])]
    found = {kind: _measure(kind, VIEWERS, RATE, SECONDS) for kind in kinds}
    ours = found.pop("homeside")
    load = f"{VIEWERS} viewers × {RATE}/s × {SIZE} B"
    table = [
        Row(f"{load}: delivered", ours["delivered"], "of all", "goal", 1.0),
        Row(f"{load}: p99", ours["p99_ms"], "ms", "goal", 10.0),
        Row(f"{load}: memory per idle viewer", ours["kb_per_viewer"], "kB", "goal", 32.0),
    ]
    for kind, peer in found.items():
        table += [
            Row(f"{load}: CPU in {SECONDS} s", ours["cpu_s"], "s", kind, peer["cpu_s"]),
            Row(f"{load}: p50", ours["p50_ms"], "ms", kind, peer["p50_ms"]),
            Row(f"{load}: p99", ours["p99_ms"], "ms", kind, peer["p99_ms"]),
        ]
    ceiling = _ceiling("homeside")
    table.append(Row("ceiling, one core", ceiling, "deliveries/s", "goal", 120_000.0))
    table.append(Row("ceiling, one core", ceiling, "deliveries/s", "picows", _ceiling("picows")))
    return table


if __name__ == "__main__":
    show("Fan-out", rows())
