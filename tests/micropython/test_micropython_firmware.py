"""The reference firmware on MicroPython itself, through a pseudo-terminal into the real source, agent and relay."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from agent.errors import CommandRefused
from agent.sources import SensorInfo
from agent.sources.timing import STANDARD_GRAVITY
from firmware_bridge.gatt import HOMESIDE_SERVICE
from tests.contract.sockets import Socket
from tests.micropython.board import FIRMWARE, HERE, MicroPythonBoard, off_ms
from tests.peers import Child
from tests.programs import RelayProgram
from tests.radio.reading import reading_port
from tests.waiting import comes

if importlib.util.find_spec("micropython_unix") is None:
    pytest.skip("MicroPython: its package has no wheel for this machine's processor", allow_module_level=True)

Make = Callable[..., MicroPythonBoard]


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Make]:
    made: list[MicroPythonBoard] = []

    def make(*words: str) -> MicroPythonBoard:
        made.append(MicroPythonBoard(tmp_path, *words))
        made[-1].on()
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("sensor", ["adxl355", "lis3dh"])
@pytest.mark.parametrize("bus", ["spi", "i2c"])
async def test_a_board_measures_and_is_set(board: Make, sensor: str, bus: str) -> None:
    one = board(sensor, bus)
    fast = 250.0 if sensor == "adxl355" else 200.0
    async with reading_port(one.path) as (source, sink):
        await comes(lambda: sink.count > 200)
        assert await source.set_rate(fast) == fast
        with pytest.raises(CommandRefused, match="code 2"):
            await source.set_rate(37)
        before = sink.count
        await comes(lambda: sink.count > before + 400)
        figures = source.figures()
    assert sink.infos[-1] == SensorInfo(f"bench-{sensor}", sensor.upper(), fast, pytest.approx(2.048, abs=1e-6))
    assert figures["damaged"] == 0
    assert figures["restarts"] == 0
    assert np.median(sink.xyz[:, 2]) == pytest.approx(STANDARD_GRAVITY, rel=0.001)
    assert np.mean(np.diff(sink.t_ns) > 0) > 0.99, "but where it was set anew"


async def test_sample_times_are_true_though_the_sensors_oscillator_is_off(board: Make) -> None:
    """Its data sheet says 125 Hz and it runs at 125.9: the board measures that, and pings take off the way."""
    one = board()
    async with reading_port(one.path) as (source, sink):
        await comes(lambda: sink.count > 800)
        lost = source.figures()["lost"]
    t_s, x_g = sink.t_ns / 1e9, sink.xyz[:, 0] / STANDARD_GRAVITY
    off = np.array([off_ms(x, t) for x, t in zip(x_g, t_s, strict=True)])[400:]
    assert lost == 0
    assert abs(np.median(off)) < 5
    assert np.percentile(np.abs(off - np.median(off)), 90) < 5
    assert np.median(np.diff(sink.t_ns[400:])) == pytest.approx(1e9 / 125 / 1.007, rel=0.002)


async def test_a_board_that_restarts(board: Make) -> None:
    one = board()
    async with reading_port(one.path) as (source, sink):
        await comes(lambda: sink.count > 100)
        one.off()
        one.on()
        before = sink.count
        await comes(lambda: sink.count > before + 100)
        assert source.figures()["restarts"] == 1
    assert np.diff(sink.t_ns).min() > -50e6


async def test_from_the_boards_pins_to_the_physicians_screen(
    board: Make, homeside: Callable[..., Child], tmp_path: Path
) -> None:
    one = board()
    relay = RelayProgram(tmp_path / "relay")
    relay.hears_kits()
    words = ("--serial", one.path, "--broker", f"mqtt://127.0.0.1:{relay.mqtt_port}", "--state", tmp_path / "kit")
    agent = homeside("agent", *words, "--kit", "bedside-01")
    session = agent.wait_for_event("session_started")["session"]
    relay.child.wait_for_event("session_created")
    async with Socket(f"{relay.ws}/ws/{session}?role=viewer&with=analysis") as viewer:
        await viewer.until(lambda _: len(viewer.points()) > 300, within_s=60)
        sensor = await viewer.sensor("rateHz")
    assert agent.end() == 0
    assert relay.stop() == 0
    assert (sensor["name"], sensor["kind"], sensor["rateHz"]) == ("bench-adxl355", "ADXL355", 125.0)
    assert np.median([point["az"] for point in viewer.points()]) == pytest.approx(STANDARD_GRAVITY, rel=0.01)


def test_frames_are_cut_to_the_radios_mtu() -> None:
    """`ble.py` on MicroPython, against a radio that writes down what it is told."""
    words = [sys.executable, "-m", "micropython_unix", "radio.py", str(FIRMWARE)]
    said, advertised = subprocess.check_output(words, cwd=HERE, text=True, timeout=60).splitlines()
    assert said == "[20, 20, 10, 244, 56] b'\\x00abc\\x00' 2"
    data, name = (bytes.fromhex(part) for part in advertised.split())
    assert data[5:][::-1].hex() == HOMESIDE_SERVICE.replace("-", "")
    assert len(data) <= 31
    assert name[2:] == b"homeside-1"
