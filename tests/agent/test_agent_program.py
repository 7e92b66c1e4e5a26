"""`homeside agent` as a process of its own: sensor in, messages out, an orderly end, sessions that outlive it."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.agent.peers import Recorder, Sensor
from tests.peers import Child, Mosquitto
from tests.waiting import until

MakeSensor = Callable[..., Sensor]
MakeRecorder = Callable[..., Recorder]
STOPS_WITHIN_S = 20.0
"""After which systemd kills it (TimeoutStopSec)."""

Start = Callable[..., Child]


@pytest.fixture
def agent(homeside: Start, tmp_path: Path) -> Start:
    def start(*arguments: str, env: dict[str, str] | None = None) -> Child:
        return homeside("agent", "--state", tmp_path / "state", "--kit", "bed-7", *arguments, env=env)

    return start


def session_of(program: Child) -> str:
    return str(program.wait_for_event("session_started")["session"])


def samples(relay: Recorder, session: str) -> list[dict[str, Any]]:
    return [s for body in relay.of("samples_batch") if body["session"] == session for s in body["payload"]["samples"]]


def test_from_sensor_to_broker(sensor: MakeSensor, mosquitto: Mosquitto, recorder: MakeRecorder, agent: Start) -> None:
    relay, board = recorder(mosquitto.url), sensor()
    program = agent("--serial", str(board.path), "--broker", mosquitto.url)
    session = session_of(program)
    until(lambda: len(samples(relay, session)) > 250)
    until(lambda: 1 in {one["seq"] for one in relay.of("session_started")})
    until(lambda: [b for b in relay.of("session_started") if b["payload"].get("sensor", {}).get("rateHz") == 100.0])
    batch = relay.of("samples_batch")[-1]["payload"]
    assert 8 <= len(batch["samples"]) <= 12, "one message a tenth of a second"
    assert {"t", "ax", "ay", "az"} == set(batch["samples"][0])
    assert 9.5 < batch["samples"][0]["az"] < 10.1
    assert abs(batch["samples"][-1]["t"] / 1000 - time.time()) < 5
    assert batch["clock"]["tick"] > 0

    began = time.monotonic()
    assert program.end() == 0
    assert time.monotonic() - began < STOPS_WITHIN_S
    until(lambda: relay.status[-1]["state"] == "offline")
    (ended,) = relay.of("session_ended")
    assert ended["session"] == session
    t = [s["t"] for s in sorted(samples(relay, session), key=lambda s: s["t"])]
    assert len(t) == len(set(t))
    assert program.events("agent_stopped")[0]["backlog"] == 0


def test_a_camera_that_is_not_there_is_told_by_its_code_and_the_heart_goes_on(
    sensor: MakeSensor, mosquitto: Mosquitto, recorder: MakeRecorder, agent: Start
) -> None:
    relay, board = recorder(mosquitto.url), sensor()
    pace = {"HOMESIDE_AGENT_STATUS_EVERY_S": "1"}
    arguments = ("--serial", str(board.path), "--camera", "/dev/video97", "--broker", mosquitto.url)
    program = agent(*arguments, env=pace)
    assert program.wait_for_event("duty_interrupted")["code"] == "CAMERA_ERROR"
    until(lambda: relay.status and relay.status[-1].get("camera", {}).get("problem"))
    assert "plugged in" in relay.status[-1]["camera"]["problem"]
    session = session_of(program)
    until(lambda: len(samples(relay, session)) > 50)
    assert program.end() == 0


def test_unplugged_sensor_is_told_in_status_until_it_is_back(
    sensor: MakeSensor, mosquitto: Mosquitto, recorder: MakeRecorder, agent: Start
) -> None:
    relay, board = recorder(mosquitto.url), sensor()
    program = agent("--serial", str(board.path), "--broker", mosquitto.url, env={"HOMESIDE_AGENT_STATUS_EVERY_S": "1"})
    session = session_of(program)
    until(lambda: len(samples(relay, session)) > 50)
    board.unplug()
    until(lambda: relay.status[-1]["sources"][0]["problem"])
    board.plug()
    before = len(samples(relay, session))
    until(lambda: len(samples(relay, session)) > before + 50)
    until(lambda: relay.status[-1]["sources"][0]["problem"] is None)
    assert relay.status[-1]["sources"][0]["lost"] > 0
    assert program.end() == 0


def test_session_goes_on_after_kill_and_ends_when_too_old(
    sensor: MakeSensor, mosquitto: Mosquitto, recorder: MakeRecorder, agent: Start
) -> None:
    relay, board = recorder(mosquitto.url), sensor()
    arguments = ("--serial", str(board.path), "--broker", mosquitto.url)
    first = agent(*arguments)
    session = session_of(first)
    until(lambda: len(samples(relay, session)) > 50)
    first.kill()
    until(lambda: relay.status[-1]["state"] == "offline", what="the last will")

    second = agent(*arguments)
    again = second.wait_for_event("session_started")
    assert (again["session"], again["resumed"]) == (session, True)
    before = len(samples(relay, session))
    until(lambda: len(samples(relay, session)) > before + 50)
    second.kill()

    third = agent(*arguments, env={"HOMESIDE_AGENT_SESSION__RESUME_WITHIN_S": "0"})
    begun = third.wait_for_event("session_started")
    assert begun["session"] != session
    until(lambda: [body for body in relay.of("session_ended") if body["session"] == session])
    assert third.end() == 0


def test_session_can_be_kept_over_an_orderly_stop(
    sensor: MakeSensor, mosquitto: Mosquitto, recorder: MakeRecorder, agent: Start
) -> None:
    relay, board = recorder(mosquitto.url), sensor()
    arguments = ("--serial", str(board.path), "--broker", mosquitto.url, "--keep-session")
    first = agent(*arguments)
    session = session_of(first)
    until(lambda: len(samples(relay, session)) > 50)
    assert first.end() == 0
    second = agent(*arguments)
    assert session_of(second) == session
    assert second.end() == 0
    assert relay.of("session_ended") == []


def test_commands_are_carried_out_and_answered_in_status(
    sensor: MakeSensor, mosquitto: Mosquitto, recorder: MakeRecorder, agent: Start
) -> None:
    relay, board = recorder(mosquitto.url), sensor()
    program = agent("--serial", str(board.path), "--broker", mosquitto.url)
    first = session_of(program)

    def answered(name: str) -> dict[str, Any]:
        found: dict[str, Any] = until(
            lambda: next(
                (s["command"] for s in reversed(relay.status) if (s["command"] or {}).get("name") == name), None
            )
        )
        return found

    until(lambda: len(samples(relay, first)) > 50)
    relay.command("bed-7", "set_rate", hz=200)
    assert answered("set_rate") == {"name": "set_rate", "ok": True, "rateHz": 200.0}
    relay.command("bed-7", "identify")
    assert answered("identify")["sensor"] == {
        "name": "simulated-1", "kind": "ADXL355 (simulated)", "rateHz": 200.0, "rangeG": 4.0,
    }  # fmt: skip
    wanted = "9d3c0b74-30a7-4f3e-8d3b-7d1f3c5c2f10"
    relay.command("bed-7", "start_session", session=wanted)
    assert answered("start_session")["session"] == wanted
    until(lambda: len(samples(relay, wanted)) > 50)
    assert [body["session"] for body in relay.of("session_ended")] == [first]
    relay.command("bed-7", "end_session", session="00000000-30a7-4f3e-8d3b-7d1f3c5c2f10")
    assert answered("end_session")["ok"] is False
    assert len(relay.of("session_ended")) == 1, "an exercise that is not going on here ended the recording"
    relay.command("bed-7", "end_session")
    until(lambda: answered("end_session").get("session") == wanted)
    until(lambda: len(relay.of("session_ended")) == 2)
    until(lambda: relay.status[-1]["session"] is None)
    relay.command("bed-7", "make_coffee")
    assert answered("make_coffee")["ok"] is False
    assert program.end() == 0
    assert not [entry for entry in program.entries() if entry["level"] == "error"]


def test_recording_is_replayed_at_its_own_pace_and_the_agent_ends_with_it(
    mosquitto: Mosquitto, recorder: MakeRecorder, agent: Start, tmp_path: Path
) -> None:
    file = tmp_path / "recording.csv"
    rows = "".join(f"{n * 10_000_000},{n},0.5,9.8\n" for n in range(300))
    file.write_text("time,x,y,z\n" + rows)
    relay = recorder(mosquitto.url)
    began = time.monotonic()
    program = agent("--replay", str(file), "--speed", "3", "--broker", mosquitto.url)
    session = session_of(program)
    assert program.wait(20) == 0
    assert time.monotonic() - began >= 2.9 / 3
    found = samples(relay, session)
    assert [s["ax"] for s in found] == list(range(300))
    steps = [round(b["t"] - a["t"], 3) for a, b in pairwise(found)]
    assert all(abs(step - 10) < 0.002 for step in steps), "spacing stays true at any speed"
    assert -0.5 < time.time() - found[-1]["t"] / 1000 < 10, "and the end of it is now"
    assert len(relay.of("session_ended")) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give --serial PORT, --ble SENSOR, --camera DEVICE or --replay FILE"),
        (("--serial", "/dev/null", "--kit", "a/b"), "is no kit's name"),
        (("--serial", "x", "--speed", "2"), "belong to --replay"),
        (("--replay", "absent.csv"), "absent.csv cannot be read"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(agent: Start, arguments: tuple[str, ...], said: str) -> None:
    program = agent(*arguments)
    assert program.wait(20) == 2
    assert said in " ".join(program.lines), program.lines
    assert "Traceback" not in "".join(program.lines)


def test_stops_in_time_without_broker_or_sensor(agent: Start, tmp_path: Path) -> None:
    program = agent("--serial", str(tmp_path / "absent"), "--broker", "mqtt://127.0.0.1:9")
    program.wait_for_event("duty_interrupted")
    began = time.monotonic()
    assert program.end() == 0
    assert time.monotonic() - began < STOPS_WITHIN_S
