"""`homeside doctor`: every fault it knows, made for real, is found and comes with its remedy."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.doctor import Verdict, examine
from agent.errors import SettingsError
from agent.outbox import Outbox
from agent.settings import AgentSettings, load
from agent.sources.ble.radio import Radio
from agent.sources.port import Port
from tests.agent.peers import Amqtt, Sensor
from tests.peers import Child, Mosquitto, free_port


def settings(folder: Path, **options: Any) -> AgentSettings:
    return load(options={"kit": "bed-7", "state": folder / "state", **options})


async def found(given: AgentSettings | SettingsError) -> dict[str, tuple[Verdict, str, str]]:
    return {one.check: (one.verdict, one.text, one.remedy) for one in await examine(given, Port, Radio)}


async def test_all_is_well(sensor: Callable[..., Sensor], mosquitto: Mosquitto, tmp_path: Path) -> None:
    board = sensor()
    findings = await found(
        settings(tmp_path, broker={"url": mosquitto.url}, source={"serial": {"port": str(board.path)}})
    )
    assert findings["settings"][0] is Verdict.OK
    assert findings["sensor"][:2] == (
        Verdict.OK, f"{board.path}: simulated-1 (ADXL355 (simulated), firmware simulator 1)",
    )  # fmt: skip
    assert findings["broker"][:2] == (Verdict.OK, f"{mosquitto.url}: MQTT 5, not encrypted")
    assert findings["disk"][0] in (Verdict.OK, Verdict.WARNING)
    assert findings["outbox"] == (Verdict.OK, "none yet", "")
    assert findings["clock"][0] in (Verdict.OK, Verdict.WARNING)


async def test_a_disk_that_the_outbox_could_fill_is_told(tmp_path: Path) -> None:
    given = settings(tmp_path, outbox={"quota_bytes": 1 << 60}, broker={"url": f"mqtt://127.0.0.1:{free_port()}"})
    verdict, text, remedy = (await found(given))["disk"]
    assert verdict is Verdict.WARNING
    assert f"may still grow by {1 << 30}.0 GiB" in text
    assert "outbox.quota_bytes" in remedy


async def test_embedded_broker_is_known(amqtt: Amqtt, tmp_path: Path) -> None:
    findings = await found(settings(tmp_path, broker={"url": amqtt.url}))
    assert findings["broker"][:2] == (Verdict.OK, f"{amqtt.url}: MQTT 3.1.1, not encrypted")


async def test_wrong_settings_end_the_examination() -> None:
    assert await found(SettingsError("kitt: no such setting")) == {
        "settings": (Verdict.FAILED, "kitt: no such setting", "correct the key named here")
    }


async def test_no_broker_no_port(tmp_path: Path) -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    absent = str(tmp_path / "ttyACM9")
    findings = await found(settings(tmp_path, broker={"url": url}, source={"serial": {"port": absent}}))
    assert findings["sensor"] == (
        Verdict.FAILED, f"{absent} is not there", "plug the sensor in, or look for its name in /dev/serial/by-id/",
    )  # fmt: skip
    verdict, text, remedy = findings["broker"]
    assert verdict is Verdict.FAILED
    assert "Connection refused" in text
    assert remedy


async def test_nothing_to_read_and_what_cannot_be_read(tmp_path: Path) -> None:
    assert (await found(settings(tmp_path)))["sensor"][0] is Verdict.FAILED
    bad = tmp_path / "x.csv"
    bad.write_text("nothing")
    findings = await found(settings(tmp_path, source={"replay": {"file": bad}}))
    assert findings["recording"][0] is Verdict.FAILED
    good = tmp_path / "y.csv"
    good.write_text("t,ax,ay,az\n0,0,0,9.8\n10,0,0,9.8\n")
    findings = await found(settings(tmp_path, source={"replay": {"file": good}}))
    assert findings["recording"][:2] == (Verdict.OK, "y.csv: 2 samples at 100.0 Hz")


async def test_port_of_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import tty

    monkeypatch.setattr("agent.doctor.SENSOR_WITHIN_S", 0.5)
    master, slave = os.openpty()
    tty.setraw(slave)
    os.write(master, b"\x00GPS NMEA $GPGGA,,,,\x00" * 20)
    findings = await found(settings(tmp_path, source={"serial": {"port": os.ttyname(slave)}}))
    assert findings["sensor"][0] is Verdict.FAILED
    assert "no frame of ours" in findings["sensor"][1] or "silent" in findings["sensor"][1]
    os.close(master)
    os.close(slave)


async def test_backlog_and_damage_of_the_outbox(tmp_path: Path) -> None:
    path = tmp_path / "state" / "outbox.db"
    outbox = Outbox(path, 1 << 30, "a")
    await outbox.open()
    for n in range(500):
        outbox.put("samples_batch", {"noise": random.Random(n).randbytes(90).hex()}, "s", n)
    await outbox.commit()
    assert (await found(settings(tmp_path)))["outbox"][1] == "held by a running agent; its backlog is in its status"
    await outbox.close()
    assert (await found(settings(tmp_path)))["outbox"][:2] == (Verdict.OK, "500 messages wait, file sound")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(random.Random(1).randbytes(20_000))
    verdict, _, remedy = (await found(settings(tmp_path)))["outbox"]
    assert verdict is Verdict.FAILED
    assert "start the agent" in remedy


async def test_what_was_dropped_is_not_passed_over(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "state" / "outbox.db", 100_000, "a")
    await outbox.open()
    for n in range(2000):
        outbox.put("samples_batch", {"noise": random.Random(n).randbytes(90).hex()}, "s", n)
    await outbox.commit()
    outbox.put("samples_batch", {"noise": random.Random(1).randbytes(90).hex()}, "s", 1)
    await outbox.close()
    verdict, text, _ = (await found(settings(tmp_path)))["outbox"]
    assert verdict is Verdict.WARNING
    assert "dropped by the quota" in text


def test_as_a_command(homeside: Callable[..., Child], mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A running agent is not disturbed by being looked at: its backlog comes from its status."""
    recording = tmp_path / "r.csv"
    recording.write_text("t,ax,ay,az\n" + "".join(f"{n * 10},0,0,9.8\n" for n in range(6000)))
    common = ("--kit", "bed-7", "--state", tmp_path / "state", "--broker", mosquitto.url)
    agent = homeside("agent", *common, "--replay", recording)
    agent.wait_for_event("broker_connected")
    config = tmp_path / "agent.toml"
    config.write_text(f"[source.replay]\nfile = '{recording}'\n")
    doctor = homeside("doctor", *common, "--config", config, "--json")
    code = doctor.wait(30)
    text = "\n".join(doctor.lines)
    findings = {one["check"]: one for one in json.loads(text)}
    assert "the agent there is online, backlog" in findings["broker"]["text"]
    assert findings["outbox"]["text"].startswith("held by a running agent")
    assert code == int(any(one["verdict"] == "failed" for one in findings.values()))
    assert len(agent.events("broker_connected")) == 1
    assert not agent.events("broker_lost")

    shown = homeside("doctor", *common, "--config", config, env={"HOMESIDE_AGENT_KITT": "x", "COLUMNS": "200"})
    assert shown.wait(30) == 1
    assert "HOMESIDE_AGENT_KITT" in "\n".join(shown.lines)
