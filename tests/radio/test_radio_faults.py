"""What goes wrong with sensors over the air: links that break, sensors that restart, twins, storms, no adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bleak.exc import BleakBluetoothNotAvailableError, BleakBluetoothNotAvailableReason, BleakError
from structlog.testing import capture_logs

from agent.errors import CommandRefused
from agent.sources.ble.radio import BEYOND_RECOVERY, MAX_PACKETS, Radio
from agent.sources.timing import STANDARD_GRAVITY
from firmware_bridge.simulator import Board, SimulatedSensor
from tests.agent.peers import TimeSignal
from tests.radio.air import Air
from tests.radio.peripherals import HomesidePeripheral, PolarH10
from tests.radio.reading import reading
from tests.radio.unclocked import WitMotionSensor
from tests.waiting import comes

DROPS, SOAKED_DROPS = 20, 100


def chest(rate_hz: float = 100.0) -> SimulatedSensor:
    return SimulatedSensor(TimeSignal(), rate_hz, board=Board(noise_ug=0.0))


async def broken_off(air: Air, radio: Radio, drops: int) -> None:
    """Every sample that came is in its place, every one that did not is counted, and none came twice."""
    async with HomesidePeripheral(air, chest(), "homeside-chest") as sensor:
        async with reading(radio, "homeside-chest") as (source, sink):
            await comes(lambda: sink.count > 20)
            for drop in range(drops):
                await sensor.drop()
                await comes(lambda drop=drop: source.figures()["connections"] == drop + 2)
                before = sink.count
                await comes(lambda before=before: sink.count > before)
            figures = source.figures()
        assert figures["connections"] == drops + 1
        assert figures["restarts"] == 0
        assert not sink.problems, "a link that broke off is taken up without the supervisor"
    t_s = (sink.t_ns - sensor.began_ns) / 1e9
    steps = np.rint(np.diff(t_s) * 100)
    assert (np.diff(t_s) > 0).all(), "no duplicate"
    lost = sum(reading.lost for reading in sink.readings[1:])
    assert steps.sum() - len(steps) == pytest.approx(lost, abs=2 + drops), "gaps are as long as the samples they lack"
    off_ms = [TimeSignal.error_ms(x, t) for x, t in zip(sink.xyz[:, 0] / STANDARD_GRAVITY, t_s, strict=True)]
    assert np.percentile(np.abs(off_ms[100:]), 95) < 60


async def test_a_link_lost_again_and_again(air: Air, radio: Radio) -> None:
    await broken_off(air, radio, DROPS)


@pytest.mark.soak
async def test_a_link_lost_a_hundred_times(air: Air, radio: Radio) -> None:
    await broken_off(air, radio, SOAKED_DROPS)


async def test_a_sensor_out_of_reach_comes_back(air: Air, radio: Radio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sources.ble.source.FIND_WITHIN_S", 0.5)
    async with (
        HomesidePeripheral(air, chest(), "homeside-chest") as sensor,
        reading(radio, "homeside-chest") as (_, sink),
    ):
        await comes(lambda: sink.count > 50)
        await sensor.hide()
        await comes(lambda: any("not in reach" in problem for problem in sink.problems))
        before, last_ns = sink.count, sink.t_ns[-1]
        await sensor.show()
        await comes(lambda: sink.count > before + 50)
    gap_s = (sink.t_ns[before] - last_ns) / 1e9
    assert gap_s == pytest.approx(sink.lost / 100, abs=0.1)


async def test_a_sensor_that_is_nowhere_keeps_no_other_waiting(
    air: Air, radio: Radio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sources.ble.source.FIND_WITHIN_S", 3600.0)
    async with (
        reading(radio, "homeside-absent") as (_, nothing),
        HomesidePeripheral(air, chest(), "homeside-chest") as sensor,
        reading(radio, "homeside-chest") as (_, sink),
    ):
        await comes(lambda: sink.count > 20)
        before = sink.count
        await sensor.drop()
        await comes(lambda: sink.count > before)
        assert nothing.count == 0


async def test_a_rate_that_is_set_while_the_link_breaks_is_refused(air: Air, radio: Radio) -> None:
    async with PolarH10(air) as sensor, reading(radio, "polar") as (source, sink):
        await comes(lambda: sink.count > 20)
        link = source._link
        assert link is not None
        await link._client.disconnect()
        with pytest.raises(CommandRefused, match=r"polar: could not write|not connected now"):
            await source.set_rate(50)
        assert sensor.rate_hz == 200


async def test_a_board_that_restarts_while_away(air: Air, radio: Radio) -> None:
    board = chest()
    async with (
        HomesidePeripheral(air, board, "homeside-chest") as sensor,
        reading(radio, "homeside-chest") as (source, sink),
    ):
        await comes(lambda: sink.count > 100)
        board.restart(sensor.elapsed_ns)
        await sensor.drop()
        before = sink.count
        await comes(lambda: sink.count > before + 100)
        assert source.figures()["restarts"] == 1
    assert (np.diff(sink.t_ns) > -50e6).all()
    assert np.diff(sink.t_ns).max() < 5e9
    t_s = (sink.t_ns - sensor.began_ns) / 1e9
    off_ms = [TimeSignal.error_ms(x, t) for x, t in zip(sink.xyz[:, 0] / STANDARD_GRAVITY, t_s, strict=True)]
    assert np.abs(off_ms).max() < 1000


async def test_an_h10_whose_clock_began_anew(air: Air, radio: Radio) -> None:
    async with PolarH10(air) as sensor, reading(radio, "polar") as (source, sink):
        await comes(lambda: sink.count > 200)
        sensor.reboot()
        before = sink.count
        await comes(lambda: sink.count > before + 200)
        assert source.figures()["restarts"] == 1
    assert np.diff(sink.t_ns).max() < 2e9
    assert np.diff(sink.t_ns).min() > -50e6


async def test_an_h10_measures_on_when_nobody_could_tell_it_to_stop(air: Air, radio: Radio) -> None:
    async with PolarH10(air) as sensor:
        async with reading(radio, "polar") as (_, sink):
            await comes(lambda: sink.count > 100)
            await sensor.drop()
            await comes(lambda: sensor.stops == 1, what="it is told to stop before it is started anew")
            before = sink.count
            await comes(lambda: sink.count > before + 100)
        assert sensor.measuring == set()


async def test_two_sensors_of_one_name(air: Air, radio: Radio) -> None:
    async with WitMotionSensor(air, "WT901BLE68") as one, WitMotionSensor(air, "WT901BLE68") as other:
        async with reading(radio, "WT901BLE68") as (_, sink):
            await comes(lambda: sink.problems)
            assert "are both called WT901BLE68: give the address" in sink.problems[0]
            assert one.address in sink.problems[0]
            assert other.address in sink.problems[0]
        async with reading(radio, other.address.lower()) as (source, sink):
            await comes(lambda: sink.count > 20)
            assert source.figures()["address"] == other.address
        assert one.connections == 0


async def test_a_family_means_each_of_it_once(air: Air, radio: Radio) -> None:
    async with PolarH10(air, "Polar H10 1"), PolarH10(air, "Polar H10 2"), reading(radio, "polar") as (one, first):
        await comes(lambda: first.count > 20)
        async with reading(radio, "polar") as (other, second):
            await comes(lambda: second.count > 20)
            assert one.figures()["address"] != other.figures()["address"]


async def test_what_is_wrong_with_the_settings_is_told(air: Air, radio: Radio) -> None:
    with capture_logs() as logs:
        async with PolarH10(air), reading(radio, "polar", rate_hz=400, range_g=8) as (_, sink):
            await comes(lambda: sink.count > 100)
    (told,) = [entry for entry in logs if entry["event"] == "sensor_refused_setting"]
    assert told["reason"] == "no rate of 400; this sensor has 25, 50, 100, 200"
    assert sink.infos[-1].rate_hz == 200, "and it measures all the same"


async def test_a_battery_that_dies_is_told_once(air: Air, radio: Radio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sources.ble.source.BATTERY_EVERY_S", 0.05)
    with capture_logs() as logs:
        async with PolarH10(air, battery=40) as sensor, reading(radio, "polar") as (source, _):
            await comes(lambda: source.figures()["batteryPercent"] == 40)
            sensor.battery = 9
            await comes(lambda: source.figures()["batteryPercent"] == 9)
            sensor.battery = 8
            await comes(lambda: source.figures()["batteryPercent"] == 8)
    assert [e["percent"] for e in logs if e["event"] == "sensor_battery_low"] == [9]


async def test_a_storm_of_notifications_drops_the_oldest_and_counts(air: Air, radio: Radio) -> None:
    """A sensor gone wild while the loop is held: what is kept is bounded, and its samples' loss is told."""
    async with (
        HomesidePeripheral(air, chest(), "homeside-chest") as sensor,
        reading(radio, "homeside-chest") as (source, sink),
    ):
        await comes(lambda: sink.count > 20)
        link = source._link
        assert link is not None
        fetch, held = link.packets, asyncio.Event()

        async def behind(within_s: float) -> Any:
            await held.wait()
            return await fetch(within_s)

        link.packets = behind  # type: ignore[method-assign]
        await comes(lambda: link._packets)
        for _ in range(MAX_PACKETS + 500):
            await sensor.notify(sensor._frames, b"\0\xff\xff\0")
        await comes(lambda: link.dropped >= 400)
        assert len(link._packets) == MAX_PACKETS
        held.set()
        before = sink.count
        await comes(lambda: sink.count > before + 50)
        figures = source.figures()
    assert figures["notificationsDropped"] >= 400
    assert figures["damaged"] >= MAX_PACKETS - 100
    assert (np.diff(sink.t_ns) > 0).all()


def no_adapter() -> BleakError:
    return BleakBluetoothNotAvailableError(
        "No Bluetooth adapters found.", BleakBluetoothNotAvailableReason.NO_BLUETOOTH
    )


@pytest.mark.parametrize("make", [no_adapter, lambda: BleakError("No powered Bluetooth adapters found.")])
async def test_a_missing_adapter_names_the_remedy(air: Air, radio: Radio, make: Callable[[], BleakError]) -> None:
    air.missing = make()
    async with PolarH10(air), reading(radio, "polar") as (_, sink):
        await comes(lambda: sink.problems)
        assert "bluetoothctl power on" in sink.problems[0]
        assert "systemctl status bluetooth" in sink.problems[0]
        air.missing = None
        await comes(lambda: sink.count > 50, what="and it is tried again")


async def test_this_host_without_bluetooth_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The platform's own backend, where there is no D-Bus to speak of."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/absent")
    async with reading(Radio(), "polar") as (_, sink):
        await comes(lambda: sink.problems)
    assert "Bluetooth cannot be used here" in sink.problems[0]


async def test_an_adapter_that_connects_no_more_is_reset(air: Air) -> None:
    resets: list[int] = []

    async def reset() -> None:
        resets.append(air.refusals)
        air.refusals = 0

    radio = Radio(scanner=air.scanner_backend, client=air.client_backend, reset=reset)
    air.refusals = 1000
    async with PolarH10(air), reading(radio, "polar") as (_, sink):
        await comes(lambda: sink.count > 50)
    assert len(resets) == 1
    assert resets[0] == 1000 - BEYOND_RECOVERY
    assert "in reach, but no connection came about" in sink.problems[0]


async def test_a_sensor_that_lacks_what_its_family_has(air: Air, radio: Radio) -> None:
    async with WitMotionSensor(air, "Polar H10 fake"), reading(radio, "Polar H10 fake") as (_, sink):
        await comes(lambda: sink.problems)
    assert "is no Polar H10: it lacks fb005c81" in sink.problems[0]


async def test_a_sensor_that_falls_silent_is_told_and_asked_anew(air: Air, radio: Radio) -> None:
    async with (
        HomesidePeripheral(air, chest(), "homeside-chest") as sensor,
        reading(radio, "homeside-chest", silent_after_s=1.0) as (source, sink),
    ):
        await comes(lambda: sink.count > 20)
        sensor.silent = True
        await comes(lambda: sink.problems)
        assert "connected, and silent for 1 s" in sink.problems[0]
        sensor.silent = False
        before = sink.count
        await comes(lambda: sink.count > before + 20)
        assert source.figures()["connections"] > 1
