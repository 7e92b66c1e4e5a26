"""The simulated board on a real pseudo-terminal, heard by pyserial and by our decoder: paced, obedient, unpluggable."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serial
from typer.testing import CliRunner

from firmware_bridge import commands
from firmware_bridge.decoders import Event, Identity, Pong, Reply, Samples
from firmware_bridge.decoders.homeside_serial import HomesideSerial
from firmware_bridge.faults import Faults
from firmware_bridge.physiology import Seismocardiogram
from firmware_bridge.simulator import Board, SimulatedSensor
from provisioning.errors import LinkTaken, PortUnavailable
from provisioning.simulate import simulate_app
from provisioning.simulation import Mishaps, Simulation
from provisioning.virtual_port import KERNEL_FULL, VirtualPort
from tests.waiting import PATIENCE_S, comes

ROOT = Path(__file__).parents[2]
DATA = os.environ.get("HOMESIDE_DATA")


class Host:
    """A program with the port open: every event with the monotonic time at which its bytes came."""

    def __init__(self, link: Path) -> None:
        self.port = serial.Serial(str(link), timeout=0.05)
        self.decoder = HomesideSerial()
        self.events: list[Event] = []
        self.gone = False
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while self.port.is_open and not self.gone:
            try:
                data = self.port.read(max(1, self.port.in_waiting))
            except (OSError, TypeError):
                self.gone = True
                return
            self.events += self.decoder.feed(data, time.monotonic_ns())

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def close(self) -> None:
        self.gone = True
        self._thread.join()
        self.port.close()


@asynccontextmanager
async def simulated(
    link: Path, sensor: SimulatedSensor, mishaps: Mishaps | None = None
) -> AsyncIterator[list[dict[str, Any]]]:
    reports: list[dict[str, Any]] = []
    simulation = Simulation(sensor, VirtualPort(link), mishaps, report=reports.append)
    running = asyncio.create_task(simulation.run())
    try:
        await comes(lambda: reports or running.done(), "plugged in")
        yield reports
    finally:
        simulation.stop()
        await running


@asynccontextmanager
async def listening(link: Path) -> AsyncIterator[Host]:
    host = Host(link)
    try:
        yield host
    finally:
        await asyncio.to_thread(host.close)


async def test_a_serial_program_hears_samples_at_the_right_pace(tmp_path: Path) -> None:
    sensor = SimulatedSensor(Seismocardiogram(), 1000.0, board=Board(drift_ppm=-200.0))
    async with simulated(tmp_path / "chest", sensor), listening(tmp_path / "chest") as host:
        await comes(lambda: host.decoder.counters.samples > 1500, "1500 samples")
    packets: list[Samples] = host.of(Samples)
    assert host.decoder.counters.lost == 0
    assert not host.decoder.counters.damaged
    behind_ms = np.array([packet.arrival_ns / 1e6 - packet.ticks[-1] / 1e3 for packet in packets])
    assert np.ptp(np.sort(behind_ms)[: len(behind_ms) // 2]) < 10


async def test_pacing_never_falls_behind_whatever_holds_the_machine_up(tmp_path: Path) -> None:
    sensor = SimulatedSensor(Seismocardiogram(), 100.0)
    async with simulated(tmp_path / "chest", sensor) as reports, listening(tmp_path / "chest") as host:
        began_ns = reports[0]["monotonic_ns"]
        await comes(lambda: host.decoder.counters.samples > 50, "50 samples")
        busy_until = time.monotonic() + 1.2
        while time.monotonic() < busy_until:
            sum(range(10_000))
        at_end = await comes(lambda: host.decoder.counters.samples > 250 and host.of(Samples)[-1], "the rest")
    assert host.decoder.counters.lost == 0
    true_ns = began_ns + int(at_end.ticks[-1]) * 1000
    assert -1e6 < at_end.arrival_ns - true_ns < 100e6


async def test_host_commands_are_obeyed_over_the_line(tmp_path: Path) -> None:
    sensor = SimulatedSensor(Seismocardiogram(), 100.0)
    async with simulated(tmp_path / "chest", sensor), listening(tmp_path / "chest") as host:
        host.port.write(commands.identify() + commands.set_rate(500) + commands.set_range(8))
        await comes(lambda: len(host.of(Reply)) == 2 and host.of(Identity), "replies")
        sent_ns = time.monotonic_ns()
        host.port.write(commands.ping(3))
        [pong] = await comes(lambda: host.of(Pong), "a pong")
        await comes(lambda: any(p.rate_hz == 500 and p.range_g == 8 for p in host.of(Samples)), "the new setting")
    assert [reply.ok for reply in host.of(Reply)] == [True, True]
    assert pong.token == 3
    assert 0 < pong.round_trip_ns(sent_ns) < 2e9
    assert host.decoder.counters.lost == 0


async def test_what_was_lost_is_what_the_decoder_counts_and_the_truth_says(tmp_path: Path) -> None:
    sensor = SimulatedSensor(Seismocardiogram(), 1000.0, seed=3, faults=Faults(loss=0.2, burst=2))
    async with simulated(tmp_path / "chest", sensor) as reports, listening(tmp_path / "chest") as host:
        await comes(lambda: len(reports) > 2, "two truths")
        await comes(lambda: host.of(Samples), "samples")
    first, last = host.of(Samples)[0], host.of(Samples)[-1]
    received = sum(len(packet.ticks) for packet in host.of(Samples))
    assert host.decoder.counters.lost == last.seq + len(last.ticks) - first.seq - received > 0
    truth = reports[2]
    assert truth["event"] == "truth"
    assert truth["frames"]["lost"] > 0
    assert truth["samples"]["taken"] - truth["samples"]["intact"] == 40 * truth["frames"]["lost"]


async def test_beats_are_told_at_the_host_time_at_which_they_are_felt(tmp_path: Path) -> None:
    sensor = SimulatedSensor(Seismocardiogram(120), 1000.0, board=Board(noise_ug=0.0))
    async with simulated(tmp_path / "chest", sensor) as reports, listening(tmp_path / "chest") as host:
        await comes(lambda: len(reports) > 3, "three truths")
        began_ns = reports[0]["monotonic_ns"]
    beats = [beat for truth in reports[1:] for beat in truth["beats_ns"]]
    assert 4 <= len(beats) <= 8
    times = np.concatenate([began_ns + packet.ticks * 1000 for packet in host.of(Samples)])
    z = np.concatenate([packet.acc_g[:, 2] for packet in host.of(Samples)])
    for beat in beats:
        near = np.abs(times - beat) < 120e6
        if near.sum() > 200:
            assert abs(times[near][np.argmax(z[near])] - beat) < 8e6


async def test_jitter_delays_and_never_reorders_nor_loses(tmp_path: Path) -> None:
    sensor = SimulatedSensor(Seismocardiogram(), 1000.0)
    mishaps = Mishaps(jitter_ms=30)
    async with simulated(tmp_path / "chest", sensor, mishaps), listening(tmp_path / "chest") as host:
        await comes(lambda: host.decoder.counters.samples > 1500, "1500 samples")
    assert host.decoder.counters.lost == 0
    late_ms = np.array([packet.arrival_ns / 1e6 - packet.ticks[-1] / 1e3 for packet in host.of(Samples)])
    assert np.std(late_ms) > 8


async def test_unplugged_the_host_knows_and_plugged_in_again_under_the_same_name(tmp_path: Path) -> None:
    link = tmp_path / "chest"
    mishaps = Mishaps(unplug_every_s=0.7, unplugged_for_s=0.2)
    async with simulated(link, SimulatedSensor(Seismocardiogram(), 100.0), mishaps) as reports:
        async with listening(link) as host:
            await comes(lambda: host.gone, "the host to notice")
        await comes(lambda: any(report["event"] == "unplugged" for report in reports), "unplugged")
        await comes(link.exists, "plugged in again")
        async with listening(link) as again:
            await comes(lambda: again.of(Samples), "samples of the new power-on")
    assert host.of(Samples)
    assert [report["event"] for report in reports if report["event"] != "truth"][:3] == [
        "plugged_in",
        "unplugged",
        "plugged_in",
    ]
    assert again.of(Samples)[0].ticks[0] < 700_000


async def test_restarts_on_time(tmp_path: Path) -> None:
    sensor = SimulatedSensor(Seismocardiogram(), 200.0)
    mishaps = Mishaps(restart_every_s=0.5)
    async with simulated(tmp_path / "chest", sensor, mishaps), listening(tmp_path / "chest") as host:
        await comes(lambda: host.decoder.counters.restarts >= 2, "two restarts")
    assert host.decoder.counters.lost == 0


async def test_a_host_that_comes_late_hears_the_present(tmp_path: Path) -> None:
    """The port was full and nobody read for long; what a host then gets is new, and the loss was counted."""
    port = VirtualPort(tmp_path / "chest")
    port.plug_in()
    step = 0

    def write() -> bytes:
        nonlocal step
        step += 1
        frame = b"%99d\n" % step
        port.write(frame, step * 100_000_000)
        return frame

    await comes(lambda: write() and port.unread_bytes > 5 * KERNEL_FULL, "the port to be full and given up")
    host = os.open(tmp_path / "chest", os.O_RDONLY | os.O_NOCTTY)
    heard = [int(line) for line in os.read(host, 100_000).split()]
    assert heard
    assert heard[0] > step - 10
    for _ in range(10):
        sent = write()
        assert os.read(host, 1000) == sent
    os.close(host)
    port.pull_out()


async def test_the_link_is_ours_or_it_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "chest"
    link.symlink_to(tmp_path / "killed")
    first = VirtualPort(link)
    first.plug_in()
    with pytest.raises(LinkTaken, match="remove it"):
        VirtualPort(link).plug_in()
    first.pull_out()
    assert not link.is_symlink()
    with pytest.raises(PortUnavailable):
        VirtualPort(tmp_path / "no" / "folder").plug_in()
    link.write_text("a file")
    with pytest.raises(LinkTaken):
        first.plug_in()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_runs_until_it_is_told_to_end(tmp_path: Path, number: int) -> None:
    link = tmp_path / "chest"
    with _command("--link", str(link), "--json", "--bpm", "90", "--rate", "250") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        truth = json.loads(process.stdout.readline())
        assert first["link"] == str(link)
        assert link.resolve() == Path(first["device"])
        assert truth["event"] == "truth"
        assert 240 <= truth["samples"]["taken"] <= 400
        process.send_signal(number)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert not link.is_symlink()


@pytest.mark.skipif(not DATA, reason="HOMESIDE_DATA is not set: no real recordings here")
async def test_the_command_plays_a_real_recording(tmp_path: Path) -> None:
    path = Path(str(DATA)) / "scg" / "openscg" / "measurement_3.json"
    link = tmp_path / "chest"
    with _command("--link", str(link), "--recording", str(path), "--json") as process:
        assert process.stdout is not None
        await asyncio.to_thread(process.stdout.readline)
        async with listening(link) as host:
            await comes(lambda: host.decoder.counters.samples > 60, "samples")
        process.terminate()
        await asyncio.to_thread(process.communicate, timeout=PATIENCE_S)
    z = np.concatenate([packet.acc_g[:, 2] for packet in host.of(Samples)]) * 9.80665
    known = np.array([sample[3] for sample in json.loads(path.read_text())["samples"]])
    start = host.of(Samples)[0].seq + 1
    expected = known[(start + np.arange(len(z))) % len(known)]
    assert np.abs(z - expected).max() < 0.02


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rate", "0"], "a rate of 0 Hz"),
        (["--bpm", "999"], "heart rate of 999 bpm"),
        (["--loss", "2"], "a loss of 2"),
        (["--recording", "none.csv"], "none.csv: No such file"),
        (["--recording", __file__], "unknown kind of file"),
        (["--jitter-ms", "-1"], "jitter-ms"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(simulate_app, ["--link", str(tmp_path / "chest"), *arguments])
    assert result.exit_code == 2
    assert says in result.output
    assert "Traceback" not in result.output


def test_help_shows_an_example() -> None:
    result = CliRunner().invoke(simulate_app, ["--help"])
    assert "Example:" in result.output
    assert result.exit_code == 0


def _command(*arguments: str) -> subprocess.Popen[str]:
    code = "from provisioning.simulate import simulate_app; simulate_app()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
