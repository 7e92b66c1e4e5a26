"""A heartbeat from the serial port to the physician's socket, through every program, with each broker."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import numpy as np
import pytest

from core.contracts.recordings import parse_recording
from tests.contract.sockets import Socket
from tests.journeys.line import running_line
from tests.peers import Mosquitto, start_homeside
from tests.programs import RelayProgram


@pytest.mark.parametrize("kind", ["embedded", "mosquitto"])
async def test_a_heart_beats_from_port_to_socket(tmp_path: Path, kind: str) -> None:
    broker = Mosquitto(tmp_path / "broker") if kind == "mosquitto" else None
    if broker is not None:
        broker.start()
    with running_line(tmp_path, broker, ("--bpm", "72")) as line:
        async with Socket(f"{line.relay.ws}/ws/{line.session}?role=viewer&with=analysis") as viewer:
            rate = await viewer.rate()
            points = viewer.points()
        info = next(m["payload"] for m in viewer.got if m["type"] == "session_info")
        line.close()
        assert line.agent.returncode == 0
        assert line.relay.child.returncode == 0
    assert rate["bpm"] == pytest.approx(72, abs=3)
    assert info["kit"] == "bedside-01"
    t = [p["t"] for p in points]
    assert all(b - a == 10 for a, b in itertools.pairwise(t))
    z = np.array([p["az"] for p in points])
    assert np.median(z) == pytest.approx(9.81, abs=0.3)
    if broker is not None:
        broker.stop()


def test_a_replayed_recording_is_stored_as_recorded(tmp_path: Path, data_dir: Path) -> None:
    file = data_dir / "scg" / "mscardio" / "s0047r001.csv.gz"
    recording = parse_recording(file.read_bytes(), file.name)
    relay = RelayProgram(tmp_path / "relay")
    words = ("--replay", file, "--speed", "20", "--broker", f"mqtt://127.0.0.1:{relay.mqtt_port}")
    agent = start_homeside("agent", *words, "--kit", "bedside-01", "--state", tmp_path / "kit")
    session = agent.wait_for_event("session_started")["session"]
    stored = asyncio.run(_all_stored(relay, session, len(recording.t_ms)))
    agent.end()
    assert relay.stop() == 0
    t = np.array([s["t"] for s in stored])
    z = np.array([s["az"] for s in stored])
    assert len(t) == len(recording.t_ms)
    assert np.abs((t - t[0]) - (recording.t_ms - recording.t_ms[0])).max() < 0.01
    assert np.abs(z - recording.xyz[:, 2]).max() < 1e-5


async def _all_stored(relay: RelayProgram, session: str, count: int) -> list[dict]:
    import httpx

    async with asyncio.timeout(90), httpx.AsyncClient(base_url=relay.http, timeout=30) as http:
        while True:
            samples = (await http.get(f"/api/v1/sessions/{session}/data")).json().get("samples", [])
            if len(samples) >= count:
                return samples
            await asyncio.sleep(0.5)
