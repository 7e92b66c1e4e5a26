"""One camera to many viewers: packets forwarded, compared with Janus, with forwarding whole frames, and with encoding
for each viewer. The server has one core and the load another; with only two cores the viewers' side is busy too, so
compare within a row. H.264, 640x480, 30 frames a second, about 1.2 Mbit/s. The delay is from the camera's picture to
the decoded one in an aiortc viewer, which by itself holds a frame back until the next begins (33 ms).

`python -m tests.bench video`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench import video_waits
from tests.bench.rows import Row, show
from tests.janus import Janus
from tests.peers import REPO_ROOT, Child, free_port, listens
from tests.programs import RelayProgram

SECONDS = 8
CORES = sorted(os.sched_getaffinity(0))
SERVER, LOAD = str(CORES[0]), str(CORES[-1])


def load(kind: str, address: str, pid: int, viewers: int) -> dict[str, Any]:
    """The load's figures; CPU is the server's, in cores."""
    command = [sys.executable, "-m", "tests.bench.video_load", kind, address, str(pid), str(viewers), str(SECONDS)]
    done = subprocess.run(
        ["taskset", "-c", LOAD, *command], cwd=REPO_ROOT, capture_output=True, text=True, timeout=220, check=False
    )
    if not done.stdout.strip():
        raise RuntimeError(f"{kind} with {viewers} viewers: {done.stderr[-800:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def ours(viewers: int, forward: str = "packets") -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        relay = RelayProgram(Path(folder), env={"HOMESIDE_RELAY_VIDEO__FORWARD": forward})
        subprocess.run(["taskset", "-a", "-p", "-c", SERVER, str(relay.child.pid)], check=True, capture_output=True)
        try:
            return load("homeside", relay.http, relay.child.pid, viewers)
        finally:
            relay.kill()


def waits() -> dict[str, float]:
    """What a person waits for, in ms; the relay has its core, and asks a STUN server that never answers."""
    with tempfile.TemporaryDirectory() as folder:
        relay = RelayProgram(Path(folder), env={"HOMESIDE_RELAY_VIDEO__ICE_SERVERS": video_waits.SILENT_STUN})
        subprocess.run(["taskset", "-a", "-p", "-c", SERVER, str(relay.child.pid)], check=True, capture_output=True)
        try:
            found = asyncio.run(video_waits.answers_and_first_frames(relay.http))
            found["back"] = asyncio.run(video_waits.returns(relay.http))
            shown = asyncio.run(video_waits.glass(relay.http, SECONDS))
            return {**found, "chromium p50": shown["p50"], "chromium p95": shown["p95"]}
        finally:
            relay.kill()


def janus(viewers: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        server = Janus(Path(folder), "taskset", "-c", SERVER)
        try:
            return load("janus", str(server.port), server.child.pid, viewers)
        finally:
            server.end()


def reencoding(viewers: int) -> dict[str, Any]:
    port = free_port()
    server = Child(["taskset", "-c", SERVER, sys.executable, "-m", "tests.bench.video_reencoding", str(port)])
    server.wait_until(lambda: listens(port), "answer", 30)
    try:
        return load("homeside", f"http://127.0.0.1:{port}", server.pid, viewers)
    finally:
        server.kill()


def rows() -> list[Row]:
    many, most, beside, whole, anew = ours(60), ours(120), janus(60), ours(60, "frames"), reencoding(8)
    waited = waits()
    us = 1e6 * many["cpu"] / many["packets"]
    theirs = 1e6 * beside["cpu"] / beside["packets"]
    return [
        Row("60 viewers: CPU a forwarded packet", us, "us", "Janus VideoRoom", theirs),
        Row("60 viewers: CPU a forwarded packet, of Janus's", us / theirs, "", "goal", 0.8),
        Row("60 viewers: a core of the relay", many["cpu"], "cores", "Janus VideoRoom", beside["cpu"]),
        Row("60 viewers: slowest viewer", many["slowest"], "frames/s", "goal", 29.0),
        Row("60 viewers: delay p50", many["p50"], "ms", "Janus VideoRoom", beside["p50"]),
        Row("60 viewers: delay p95", many["p95"], "ms", "Janus VideoRoom", beside["p95"]),
        Row("60 viewers: delay p95", many["p95"], "ms", "goal", 70.0),
        Row("120 viewers: slowest viewer", most["slowest"], "frames/s", "goal", 28.0),
        Row("120 viewers: a core of the relay", most["cpu"], "cores"),
        Row("120 viewers: delay p95", most["p95"], "ms"),
        Row("60 viewers: a core of the relay", many["cpu"], "cores", "ours, whole frames", whole["cpu"]),
        Row("60 viewers: delay p95", many["p95"], "ms", "ours, whole frames", whole["p95"]),
        Row("a viewer: CPU", many["cpu"] / 60, "cores", "MediaRelay, 8 viewers", anew["cpu"] / 8),
        Row("frames a second of a viewer", many["fps"], "1/s", "MediaRelay, 8 viewers", anew["fps"]),
        Row("delay p95", many["p95"], "ms", "MediaRelay, 8 viewers", anew["p95"]),
        Row("Chromium alone: delay p50", waited["chromium p50"], "ms"),
        Row("Chromium alone: delay p95", waited["chromium p95"], "ms", "goal", 60.0),
        Row("answer p95, silent STUN server, mDNS", waited["answer"], "ms", "goal", 300.0),
        Row("offer to first frame p95, the same", waited["first"], "ms", "goal", 1000.0),
        Row("kit back to viewer's picture, longest", waited["back"], "ms", "goal", 3000.0),
    ]


if __name__ == "__main__":
    show("video", rows())
