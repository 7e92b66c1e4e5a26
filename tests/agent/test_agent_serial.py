"""The serial source against a simulated board on a real pseudo-terminal: times, settings, unplugging, other devices."""

from __future__ import annotations

import asyncio
import os
import time
import tty
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from agent.errors import CommandRefused, PortError
from agent.sources import SensorInfo
from agent.sources.one_way import OneWayDelay
from agent.sources.port import Port
from agent.sources.timing import STANDARD_GRAVITY
from firmware_bridge.faults import Faults
from firmware_bridge.simulator import Board
from tests.agent.peers import Sensor, TimeSignal
from tests.firmware_bridge.captures import wit_serial
from tests.radio.reading import reading_port
from tests.waiting import comes

Make = Callable[..., Sensor]


async def test_samples_arrive_with_their_true_times(sensor: Make) -> None:
    """A board 40 ppm fast, frames of 40 ms: the value of each sample says when it was taken."""
    board = sensor(board=Board(drift_ppm=40.0, noise_ug=0.0))
    async with reading_port(board.path) as (_, sink):
        await comes(lambda: sink.count >= 350)
    t = np.concatenate([r.t_ns for r in sink.readings])
    x = np.concatenate([r.xyz for r in sink.readings])[:, 0] / STANDARD_GRAVITY
    assert (np.diff(t) > 0).all()
    true_s = (t - board.began_ns) / 1e9
    off_ms = np.array([TimeSignal.error_ms(*pair) for pair in zip(x, true_s, strict=True)])
    later = off_ms[180:]
    assert abs(np.median(later)) < 3.0, "pings have told the delay by then"
    assert np.percentile(np.abs(later), 95) < 6.0
    assert sink.lost == 0
    assert sink.readings[-1].error_ms is not None


async def test_sensor_is_described_and_set(sensor: Make) -> None:
    board = sensor()
    async with reading_port(board.path, rate_hz=200.0, range_g=8.0) as (source, sink):
        await comes(lambda: sink.infos and sink.infos[-1][2:] == (200.0, 8.0))
        assert sink.infos[-1] == SensorInfo("simulated-1", "ADXL355 (simulated)", 200.0, 8.0)
        assert await source.set_rate(50) == 50.0
        await comes(lambda: sink.infos[-1].rate_hz == 50.0)
        with pytest.raises(CommandRefused, match="code 2"):
            await source.set_rate(37)
        with pytest.raises(CommandRefused, match="rates are above 0"):
            await source.set_rate(-1)
        assert (await source.identify()).name == "simulated-1"


async def test_setting_the_sensor_cannot_do_is_told(sensor: Make) -> None:
    board = sensor()
    with capture_logs() as logs:
        async with reading_port(board.path, rate_hz=37.0) as (_, sink):
            await comes(lambda: [e for e in logs if e["event"] == "sensor_refused_setting"])
            await comes(lambda: sink.count > 20, what="and it measures all the same")


async def test_unplugged_and_plugged_in_again(sensor: Make) -> None:
    board = sensor()
    with capture_logs() as logs:
        async with reading_port(board.path) as (source, sink):
            for _ in range(3):
                before = sink.count
                await comes(lambda before=before: sink.count > before + 20)
                await asyncio.to_thread(board.unplug)
                await comes(lambda: [e for e in logs if e.get("code") == "PORT_ERROR"])
                await asyncio.to_thread(board.plug)
            before = sink.count
            await comes(lambda: sink.count > before + 40)
            figures = source.figures()
    assert figures["lost"] == sink.lost > 0, "what was missed meanwhile is counted"
    assert figures["samples"] == sink.count
    assert "duty_failed" not in {entry["event"] for entry in logs}


async def test_restarted_board_begins_a_new_segment(sensor: Make) -> None:
    board = sensor()
    with capture_logs() as logs:
        async with reading_port(board.path) as (_, sink):
            await comes(lambda: sink.count > 100)
            board.board.restart(time.monotonic_ns() - board.began_ns)
            await comes(lambda: [e for e in logs if e["event"] == "device_clock_restarted"])
            before = sink.count
            await comes(lambda: sink.count > before + 60)
    t = np.concatenate([r.t_ns for r in sink.readings])
    assert np.diff(t).max() < 1e9
    assert np.diff(t).min() > -50e6


async def test_damaged_frames_cost_what_they_held(sensor: Make) -> None:
    board = sensor(faults=Faults(bit_errors=2e-4))
    async with reading_port(board.path) as (source, sink):
        await comes(lambda: sink.count > 200)
        figures = source.figures()
    assert figures["damaged"] > 0
    assert figures["lost"] > 0


async def test_silent_port_is_opened_anew(sensor: Make, tmp_path: Path) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    port = Port(os.ttyname(slave), 115_200)
    port.start()
    with pytest.raises(PortError, match="silent for 1 s"):
        await port.chunks(1.0)
    await port.close()
    os.close(master)
    os.close(slave)


async def test_waking_for_what_was_fetched_already_is_not_silence() -> None:
    """The thread's word of a chunk may come after the chunk was fetched: the next wait begins with it."""
    master, slave = os.openpty()
    tty.setraw(slave)
    port = Port(os.ttyname(slave), 115_200)
    port.start()

    async def speak() -> None:
        while True:
            await asyncio.sleep(0.05)
            os.write(master, b"x")

    asyncio.get_running_loop().call_soon(port._news.set)
    speaking = asyncio.create_task(speak())
    assert set((await port.chunks(5.0))[0][0]) == {ord("x")}
    speaking.cancel()
    await port.close()
    os.close(master)
    os.close(slave)


async def test_board_that_never_answers_is_read_all_the_same(sensor: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sources.sensing.ANSWER_WITHIN_S", 0.3)
    board = sensor()
    board.answering = False
    await comes(lambda: board.board.truth.taken > 50, what="the identity it says by itself at power-on is past")
    with capture_logs() as logs:
        async with reading_port(board.path) as (source, sink):
            await comes(lambda: [e for e in logs if e["event"] == "sensor_does_not_answer"])
            assert sink.count > 50
            assert sink.infos[-1].kind in ("unknown", "ADXL355 (simulated)")
            with pytest.raises(CommandRefused, match="does not answer"):
                await source.set_rate(100)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "absent", "is not there: plug the sensor in"),
        (lambda folder: folder, "was lost"),
    ],
)
async def test_port_that_cannot_be_opened_names_the_remedy(
    tmp_path: Path, make: Callable[[Path], Path], said: str
) -> None:
    port = Port(str(make(tmp_path)), 115_200)
    port.start()
    with pytest.raises(PortError, match=said):
        await port.chunks(5.0)
    await port.close()


async def test_port_held_by_another_program(sensor: Make) -> None:
    board = sensor()
    first, second = (Port(str(board.path), 115_200) for _ in range(2))
    first.start()
    await first.chunks(5.0)
    second.start()
    with pytest.raises(PortError, match="in use by another program"):
        await second.chunks(5.0)
    await first.close()
    await second.close()


async def test_event_loop_that_is_behind_drops_the_oldest(sensor: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sources.port.MAX_CHUNKS", 3)
    board = sensor()
    port = Port(str(board.path), 115_200)
    port.start()
    await comes(lambda: port.dropped > 3)
    chunks = await port.chunks(1.0)
    assert len(chunks) <= 3
    assert chunks == sorted(chunks, key=lambda chunk: chunk[1])
    await port.close()


async def test_what_a_loop_that_is_behind_dropped_is_told_over_reconnections(
    sensor: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sources.port.MAX_CHUNKS", 3)
    board = sensor()
    async with reading_port(board.path) as (source, sink):
        await comes(lambda: sink.count > 20)
        time.sleep(0.5)
        await comes(lambda: source.figures()["chunksDropped"] > 3)
        dropped = source.figures()["chunksDropped"]
        await asyncio.to_thread(board.unplug)
        await comes(lambda: sink.count > 20 and source._port is None)
        assert source.figures()["chunksDropped"] >= dropped, "by a port that has gone"
        await asyncio.to_thread(board.plug)
        before = sink.count
        await comes(lambda: sink.count > before)
        assert source.figures()["chunksDropped"] >= dropped, "by the port before"


def test_one_way_delay_is_what_pings_and_packets_tell() -> None:
    """A device clock 5 s behind, packets at least 9 ms on the way, pings 1 ms there and 3 ms back."""
    delay = OneWayDelay()
    assert delay.estimate() is None
    for n in range(100):
        device_ns = n * 40_000_000
        delay.packet(device_ns, int(device_ns + 5e9 + 9e6 + (n * 7919 % 13) * 1e6))
    for n, (there, back) in enumerate([(30e6, 2e6), (1e6, 3e6), (9e6, 9e6)]):
        sent, device = 8_000_000_000 + n, 3_000_000_000 + n + there
        arrival = int(sent + there + back)
        delay.pong(device - (sent + arrival) / 2, there + back, arrival)
    found = delay.estimate()
    assert found is not None
    assert abs(found - 9e6) <= 1.1e6, "wrong by at most half of the best round trip"
    delay.restart()
    assert delay.estimate() == found, "the line is the same after a restart of the board"


@pytest.mark.parametrize(
    ("dialect", "line"),
    [
        ("witmotion", lambda n: wit_serial(0x51, (0, 0, 2048)) + wit_serial(0x53, (1, 2, 3))),
        ("csv", lambda n: f"{n * 10},0,0,1\r\n".encode()),
        ("csv-us", lambda n: f"{n * 10_000},0,0,1\n".encode()),
        ("csv-ms2", lambda n: f"{n * 10},0,0,9.80665\n".encode()),
        ("csv-untimed", lambda n: b"0 0 1\n"),
    ],
)
async def test_other_dialects_on_a_line(tmp_path: Path, dialect: str, line: Callable[[int], bytes]) -> None:
    """A sensor that prints 100 times a second, and takes no commands."""
    master, slave = os.openpty()
    tty.setraw(slave)
    said = 0

    async def speak() -> None:
        nonlocal said
        began = time.monotonic()
        while True:
            await asyncio.sleep(0.02)
            while said < (time.monotonic() - began) * 100:
                os.write(master, line(said))
                said += 1

    speaking = asyncio.create_task(speak())
    async with reading_port(Path(os.ttyname(slave)), dialect=dialect) as (source, sink):
        await comes(lambda: sink.count > 200)
        assert (await source.identify()).kind == dialect
        with pytest.raises(CommandRefused, match="has the rate it has"):
            await source.set_rate(50)
    speaking.cancel()
    os.close(master)
    os.close(slave)
    assert sink.lost == 0
    assert (np.diff(np.concatenate([r.t_ns for r in sink.readings])) > 0).all()
    assert np.median(np.concatenate([r.xyz for r in sink.readings])[:, 2]) == pytest.approx(STANDARD_GRAVITY)
    assert np.median(np.diff(np.concatenate([r.t_ns for r in sink.readings]))) == pytest.approx(1e7, rel=0.3)
