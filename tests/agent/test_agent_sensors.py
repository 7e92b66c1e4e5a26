"""`homeside sensors` as people run it: against a simulated board and an SMP server on pseudo-terminals, and the air."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from agent.errors import SensorNotFound, SettingsError
from agent.sections import Ble
from agent.sensors.__main__ import show_scan, source_for, watch
from agent.sensors.meter import Meter
from agent.sensors.plot import chart, screen
from agent.sources import Reading, SensorInfo
from agent.sources.ble.radio import Radio
from agent.sources.ble.source import BleSource
from firmware_bridge.simulator import Board
from tests.agent.peers import Sensor, TimeSignal
from tests.peers import Child
from tests.radio.air import Air
from tests.radio.peripherals import MovesenseSensor, PolarH10
from tests.radio.smp_server import Board as FirmwareBoard
from tests.radio.smp_server import BoardOnALine, made_image

Make = Callable[..., Sensor]
Start = Callable[..., Child]


def ran(homeside: Start, *words: object, code: int = 0) -> Any:
    """What the program printed as JSON, line by line."""
    child = homeside("sensors", *words, "--json")
    assert child.wait(60) == code, child.tail()
    found = [json.loads(line) for line in child.lines if line.startswith(("{", "["))]
    return [one for one in found if "event" not in one]


class Still(TimeSignal):
    """A board that lies on the table, and feels so many g there."""

    def __init__(self, g: float) -> None:
        self.g = g

    def at(self, t_s: Any) -> Any:
        return super().at(t_s) * (0, 0, self.g)


@pytest.mark.parametrize(("g", "findings"), [(1.0, []), (2.0, ["at rest it measures 2"])], ids=["sound", "2 g"])
def test_a_sensor_is_called_sound_or_what_is_wrong_with_it(
    homeside: Start, sensor: Make, g: float, findings: list[str]
) -> None:
    board = sensor(signal=Still(g), board=Board(noise_ug=25.0))
    (found,) = ran(homeside, "test", board.path, "--for", "2", code=1 if findings else 0)
    assert found["name"] == "simulated-1"
    assert found["measuredHz"] == pytest.approx(100, rel=0.02)
    assert found["lost"] == 0
    assert found["clockErrorMs"] is None or found["clockErrorMs"] < 100
    assert [text[:21] for text in found["findings"]] == findings
    assert found["sound"] is not bool(findings)


def test_a_stream_is_a_line_a_second(homeside: Start, sensor: Make) -> None:
    lines = ran(homeside, "stream", sensor().path, "--for", "2.5")
    assert lines[-1]["samples"] > lines[0]["samples"]
    assert lines[-1]["rateHz"] == 100


def test_a_sensor_is_set(homeside: Start, sensor: Make) -> None:
    board = sensor()
    (found,) = ran(homeside, "config", board.path, "--rate", "200", "--range", "8")
    assert (found["rateHz"], found["rangeG"]) == (200, 8)
    (found,) = ran(homeside, "config", board.path, "--rate", "37", code=1)
    assert found["rateHz"] == 200


def test_firmware_is_updated_and_listed(homeside: Start, tmp_path: Path) -> None:
    line = BoardOnALine(FirmwareBoard(), tmp_path)
    image = tmp_path / "new.bin"
    image.write_bytes(made_image((3, 1, 4), 16 * 1024))
    (slots,) = ran(homeside, "update", line.path, image)
    assert (slots[0]["version"], slots[0]["flags"]) == ("3.1.4", ["active", "confirmed"])
    (slots,) = ran(homeside, "update", line.path)
    assert [slot["version"] for slot in slots] == ["3.1.4", "1.0.0"]
    image.write_bytes(b"no firmware")
    ran(homeside, "update", line.path, image, code=2)
    line.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("test", "/dev/absent"), "is not there: plug the sensor in"),
        (("test", "/dev/null", "--dialect", "morse"), "dialect: Input should be"),
        (("stream", "polar", "--rate", "-1"), "rate_hz: Input should be greater than 0"),
    ],
)
def test_what_cannot_be_is_one_sentence(homeside: Start, words: tuple[str, ...], said: str) -> None:
    child = homeside("sensors", *words)
    assert child.wait(60) == 2
    assert said in " ".join(child.lines)
    assert "Traceback" not in child.tail()


def test_a_host_without_bluetooth_is_told_the_remedy(homeside: Start, tmp_path: Path) -> None:
    child = homeside(
        "sensors", "test", "polar", env={"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/absent", "COLUMNS": "200"}
    )
    assert child.wait(60) == 2
    assert "Bluetooth cannot be used here" in " ".join(child.lines)


async def test_what_is_in_the_air_is_listed(
    air: Air, radio: Radio, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with PolarH10(air) as sensor, PolarH10(air, "Fridge"):
        seen = await radio.scan(1.0)
        show_scan(seen, [("/dev/ttyACM0", "board")], as_json=True)
        found = json.loads(capsys.readouterr().out)
        assert {"address": sensor.address, "name": sensor.name, "family": "polar", "rssiDbm": -50} in found["air"]
        assert found["ports"] == [{"port": "/dev/ttyACM0", "description": "board"}]
        show_scan(seen, [], as_json=False)
        assert "Polar H10" in capsys.readouterr().out
        opened = partial(BleSource, Ble(device="polar"), radio)
        await watch(opened, "polar", 1.0, as_json=True)
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["kind"], last["batteryPercent"], last["rssiDbm"]) == ("Polar H10", 80, -50)


async def test_an_electrocardiogram_lies_beside_the_accelerometer_on_one_clock(
    air: Air, radio: Radio, capsys: pytest.CaptureFixture[str]
) -> None:
    async with PolarH10(air) as sensor:
        await watch(partial(BleSource, Ble(device="polar"), radio), "polar", 6.0, as_json=True, ecg=True)
        assert sensor.measuring == set(), "both were told to stop"
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    times, volts = (np.array([one for line in lines for one in line["ecg"][key]]) for key in ("tMs", "microvolts"))
    acc = np.array([one for line in lines for one in line["acc"]["g"]])
    assert sum(line[key]["lost"] for line in lines for key in ("acc", "ecg")) == 0
    assert np.median(np.diff(times)) == pytest.approx(1000 / 130, rel=0.01)
    assert len(acc) == sum(len(line["acc"]["tMs"]) for line in lines) > 5 * 200
    assert np.median(acc[:, 2]) == pytest.approx(1.0, abs=0.05)
    peaks = times[1:-1][(volts[1:-1] > 300) & (volts[1:-1] >= volts[:-2]) & (volts[1:-1] > volts[2:])]
    truth = (sensor.began_ns / 1e9 + np.array(sensor.beats) - sensor.R_BEFORE_S) * 1000
    apart = np.array([np.abs(truth - peak).min() for peak in peaks])
    assert len(peaks) >= 5
    assert np.median(apart) < 100, "as late as a packet of the busy machine at most"


async def test_a_sensor_without_an_electrocardiogram_says_so(air: Air, radio: Radio) -> None:
    async with MovesenseSensor(air):
        with pytest.raises(SensorNotFound, match="has no electrocardiogram"):
            await watch(partial(BleSource, Ble(device="movesense"), radio), "movesense", 1.0, as_json=True, ecg=True)
    with pytest.raises(SettingsError, match="serial port"):
        source_for("/dev/ttyACM0", None, None, "homeside", 115_200, None, ecg=lambda _: None)


def test_a_chart_of_dots() -> None:
    wave = np.sin(np.linspace(0, 4 * np.pi, 500))
    lines = chart(wave, width=20, height=4)
    assert [len(line) for line in lines] == [20] * 4
    assert all(0x2800 <= ord(dot) <= 0x28FF for line in lines for dot in line)
    assert lines[0].strip("\u2800")
    assert lines[-1].strip("\u2800")
    flat = chart(np.zeros(50), width=10, height=3)
    assert [bool(line.strip("\u2800")) for line in flat] == [False, True, False]
    assert chart(np.empty(0), width=3, height=1) == ["\u2800" * 3]


def metered(z_g: float = 1.0, lost: int = 0, rate_hz: float = 100.0) -> Meter:
    meter = Meter()
    meter.sensor(SensorInfo("chest", "ADXL355", rate_hz, 2.0))
    for packet in range(100):
        t_ns = 1e9 + (packet * 4 + np.arange(4)) * 1e7
        xyz = np.column_stack((np.zeros(4), np.zeros(4), np.full(4, z_g * 9.80665)))
        meter.samples(Reading(t_ns, xyz, int(t_ns[-1] + 5e6), lost=lost if packet == 50 else 0, error_ms=0.4))
    return meter


@pytest.mark.parametrize(
    ("meter", "said"),
    [
        (metered(), []),
        (metered(z_g=2.0), ["at rest it measures 2 g"]),
        (metered(lost=7), ["7 samples were lost"]),
        (metered(rate_hz=200.0), ["it runs at 100 Hz and says 200"]),
        (Meter(), ["hardly any samples"]),
    ],
)
def test_what_is_found_wrong(meter: Meter, said: list[str]) -> None:
    findings = meter.findings()
    assert len(findings) == len(said)
    assert all(found.startswith(start) for found, start in zip(findings, said, strict=True))


def test_the_screen_holds_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    beside = {"batteryPercent": 55, "rssiDbm": -61}
    Console(width=100).print(screen(metered(), "/dev/ttyACM0", beside, np.array([-0.25, 1.0])))
    shown = capsys.readouterr().out
    for text in (
        "chest (ADXL355) on /dev/ttyACM0",
        "rate 100 Hz",
        "lost 0",
        "late 5 ms",
        "± 0.4 ms",
        "55 %",
        "-61 dBm",
        "ECG: -0.25 to +1.00 mV",
    ):
        assert text in shown


def test_where_decides_the_way() -> None:
    assert source_for("/dev/ttyACM0", None, None, "homeside", 115_200, None).name == "serial"
    assert source_for("polar", None, None, "homeside", 115_200, None).name == "ble polar"


def test_an_agent_without_bluetooth_says_what_to_do_and_goes_on(homeside: Start, tmp_path: Path) -> None:
    words = ("--ble", "polar", "--broker", "mqtt://127.0.0.1:9", "--state", tmp_path / "kit")
    agent = homeside("agent", *words, env={"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/absent"})
    (told, *_) = agent.wait_until(
        lambda: [one for one in agent.events("duty_interrupted") if one["code"] == "RADIO_ERROR"], "word of the radio"
    )
    assert "bluetoothctl list" in told["reason"]
    assert agent.running
    assert agent.end() == 0
