"""The source over the air, against real GATT servers on the virtual radio."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest
from bleak.exc import BleakError

from agent.doctor import Verdict, examine
from agent.errors import CommandRefused
from agent.settings import AgentSettings
from agent.sources import SensorInfo
from agent.sources.ble.radio import Radio
from agent.sources.port import Port
from firmware_bridge.physiology import Seismocardiogram
from firmware_bridge.simulator import Board, SimulatedSensor
from tests.agent.peers import TimeSignal
from tests.radio.air import MTU, Air
from tests.radio.peripherals import (
    HomesidePeripheral,
    MovesenseSensor,
    Peripheral,
    PolarH10,
)
from tests.radio.reading import reading
from tests.radio.unclocked import BangleWatch, ThingySensor, WitMotionSensor
from tests.waiting import comes


async def test_our_own_service_streams_and_is_set(air: Air, radio: Radio) -> None:
    board = SimulatedSensor(Seismocardiogram(), 100.0)
    async with HomesidePeripheral(air, board, "homeside-chest", battery=64) as sensor:
        async with reading(radio, "homeside-chest", rate_hz=200.0) as (source, sink):
            await comes(lambda: sink.infos and sink.infos[-1].rate_hz == 200.0)
            await comes(lambda: sink.count > 300)
            assert await source.set_rate(100) == 100.0
            await comes(lambda: sink.infos[-1].rate_hz == 100.0)
            figures = source.figures()
        assert sensor.connections == 1
    assert sink.infos[-1] == SensorInfo("simulated-1", "ADXL355 (simulated)", 100.0, 4.0)
    assert figures["batteryPercent"] == 64
    assert figures["rssiDbm"] == -50
    assert figures["mtu"] == MTU, "as the two ends agreed"
    assert figures["address"] == sensor.address
    assert figures["lost"] == 0
    assert (np.diff(sink.t_ns) > 0).all()
    assert abs(np.median(sink.xyz[:, 2]) - 9.81) < 0.3


FAMILIES: list[tuple[type[Peripheral], str, str, float]] = [
    (PolarH10, "polar", "Polar H10", 200.0),
    (MovesenseSensor, "movesense", "Movesense", 208.0),
    (WitMotionSensor, "witmotion", "WitMotion", 100.0),
    (ThingySensor, "thingy", "Nordic Thingy:52", 100.0),
    (BangleWatch, "banglejs", "Bangle.js", 50.0),
]


@pytest.mark.parametrize(("make", "key", "title", "rate_hz"), FAMILIES, ids=[row[1] for row in FAMILIES])
async def test_a_family_streams_in_true_time(
    air: Air, radio: Radio, make: Callable[[Air], Peripheral], key: str, title: str, rate_hz: float
) -> None:
    async with make(air) as sensor:
        began_ns = time.monotonic_ns()
        async with reading(radio, key) as (source, sink):
            await comes(lambda: sink.count > 2 * rate_hz)
            figures = source.figures()
        ended_ns = time.monotonic_ns()
    assert sink.infos[0] == SensorInfo(sensor.name, title)
    assert sink.infos[-1].rate_hz == rate_hz
    assert figures["family"] == key
    assert (figures["lost"], figures["damaged"], figures["restarts"]) == (0, 0, 0)
    steps_ms = np.diff(sink.t_ns) / 1e6
    assert (steps_ms > 0).all()
    assert np.median(steps_ms) == pytest.approx(1000 / rate_hz, rel=0.3)
    slack_ns = 500_000_000  # a fit through arrivals leads by what a busy machine held the last ones back
    assert began_ns - slack_ns < sink.t_ns[0] < sink.t_ns[-1] < ended_ns + slack_ns
    assert abs(np.median(sink.xyz[:, 2]) - 9.81) < 0.3
    assert not sink.problems


async def test_an_h10_is_told_to_stop(air: Air, radio: Radio) -> None:
    async with PolarH10(air) as sensor:
        async with reading(radio, "polar") as (source, sink):
            await comes(lambda: sink.count > 100)
            assert await source.set_rate(100) == 100
            assert sensor.rate_hz == 100
            with pytest.raises(CommandRefused, match="25, 50, 100, 200"):
                await source.set_rate(400)
            before = sink.count
            await comes(lambda: sink.count > before + 72)
        assert sensor.measuring == set()


async def test_three_sensors_at_once_are_lossless_and_in_order(air: Air, radio: Radio) -> None:
    boards = [SimulatedSensor(TimeSignal(), 400.0, board=Board(frame_ms=10.0, noise_ug=0.0)) for _ in range(3)]
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        sensors = [await enter(HomesidePeripheral(air, board, f"homeside-{n}")) for n, board in enumerate(boards)]
        for one in sensors:
            one.every_s = 0.01
        read = [await enter(reading(radio, one.name)) for one in sensors]
        await comes(lambda: all(sink.count > 1200 for _, sink in read))
        figures = [source.figures() for source, _ in read]
    assert [f["lost"] for f in figures] == [0, 0, 0]
    assert [f["notificationsDropped"] for f in figures] == [0, 0, 0]
    for _, sink in read:
        assert (np.diff(sink.t_ns) > 0).all()


async def test_the_doctor_looks_into_the_air(air: Air, radio: Radio, tmp_path: Path) -> None:
    source = {"ble": [{"device": "polar"}, {"device": "movesense"}]}
    settings = AgentSettings.model_validate(
        {"kit": "k", "state": tmp_path, "broker": {"url": "mqtt://127.0.0.1:9"}, "source": source}
    )
    async with PolarH10(air):
        found = await examine(settings, Port, lambda _: radio)
    told = {finding.text: finding.verdict for finding in found if finding.check == "sensor"}
    assert told == {
        "polar: Polar H10 A1B2C3D4, -50 dBm": Verdict.OK,
        "movesense: not in reach over the air": Verdict.WARNING,
    }
    air.missing = BleakError("No Bluetooth adapters found.")
    (problem,) = [one for one in await examine(settings, Port, lambda _: radio) if one.check == "bluetooth"]
    assert problem.failed
    assert "bluetoothctl power on" in problem.remedy
