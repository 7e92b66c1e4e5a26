"""The demonstration: one link at which a heart beats, and nothing left behind, however it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provisioning import places
from provisioning.demo import Teller
from provisioning.errors import FolderUnusable, PlaceTaken
from provisioning.scene import Scene
from tests.peers import Child, listens

Start = Callable[..., Child]
ORDER = ["simulate", "agent", "relay"]


def get(url: str | urllib.request.Request) -> Any:
    with urllib.request.urlopen(url, timeout=5.0) as answer:
        return json.loads(answer.read())


def port_of(url: str) -> int:
    return int(url.split("//")[1].split("/")[0].rsplit(":")[1])


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def demo(homeside: Start, tmp_path: Path) -> Start:
    def start(*words: str) -> Child:
        return homeside("demo", "--json", "--port", "0", "--mqtt-port", "0", "--data", str(tmp_path / "demo"), *words)

    return start


def test_a_heart_beats_at_the_link_until_ctrl_c(demo: Start) -> None:
    child = demo()
    ready = child.wait_for_event("demo_ready", within=240.0)
    base = ready["sessions"].rstrip("/")
    session = f"{base}/api/v1/sessions/{ready['session']}"
    samples = child.wait_until(lambda: get(session).get("samples"), "samples in the relay")
    assert {"t", "az"} <= set(samples[0])
    with urllib.request.urlopen(ready["view"], timeout=5.0) as page:
        assert page.status == 200
    child.signal(signal.SIGINT)
    assert child.wait(60.0) == 0, child.tail()
    assert [(ended["program"], ended["code"]) for ended in child.events("program_ended")] == [(p, 0) for p in ORDER]
    assert not any(map(is_running, ready["processes"].values()))
    assert not listens(port_of(ready["sessions"]))
    assert not listens(port_of(ready["broker"]))


def test_people_can_sign_in_and_timers_run(demo: Start) -> None:
    child = demo()
    base = child.wait_for_event("demo_ready", within=240.0)["sessions"].rstrip("/")
    prepared = child.wait_for_event("demo_prepared", within=120.0)
    for email, password in prepared["sign_ins"].items():
        body = json.dumps({"email": email, "password": password}).encode()
        login = urllib.request.Request(
            f"{base}/physio/api/auth/login", body, {"Content-Type": "application/json"}, method="POST"
        )
        assert get(login)["data"]["user"]["email"] == email
    assert {"timers", "exercises", "cameras", "signing", "fleet"} == set(prepared["places"])
    for place in prepared["places"].values():
        with urllib.request.urlopen(place, timeout=10.0) as page:
            assert page.status == 200
    log = Path(child.events("demo_ready")[0]["logs"]) / "agent.log"
    child.wait_until(lambda: '"camera_opened"' in log.read_text(), "a camera", within=60.0)
    timers = prepared["places"]["timers"]
    session, token = timers.split("/timer/")[1].split("?token=")
    asked = urllib.request.Request(f"{base}/timers/v1/sessions/{session}", headers={"Authorization": f"Bearer {token}"})
    assert get(asked)["status"] == "running"
    with urllib.request.urlopen(timers, timeout=5.0) as page:
        assert page.status == 200
    child.signal(signal.SIGINT)
    assert child.wait(60.0) == 0, child.tail()


def test_it_ends_by_itself_when_its_time_is_over(demo: Start) -> None:
    child = demo("--for", "0.5")
    child.wait_for_event("demo_ready", within=240.0)
    assert child.wait(60.0) == 0, child.tail()
    assert [ended["program"] for ended in child.events("program_ended")] == ORDER


@pytest.mark.parametrize("victim", ORDER)
def test_when_one_dies_all_end_and_its_log_is_shown(demo: Start, victim: str) -> None:
    child = demo()
    ready = child.wait_for_event("demo_ready", within=240.0)
    os.kill(ready["processes"][victim], signal.SIGKILL)
    assert child.wait(60.0) == 1
    (failed,) = child.events("demo_failed")
    assert failed["message"].startswith(f"{victim} ended by itself with exit code -9. The end of ")
    assert failed["message"].count("\n") >= 1
    assert not any(map(is_running, ready["processes"].values()))


def test_a_taken_port_is_said_with_the_remedy(homeside: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        child = homeside("demo", "--port", str(port), "--data", str(tmp_path))
        assert child.wait(60.0) == 1
    assert f"Port {port} on 127.0.0.1 is in use" in child.tail()
    assert "homeside demo --port" in child.tail()
    assert "make demo DEMO=" in child.tail()
    assert "Traceback" not in child.tail()


def test_two_demonstrations_do_not_share_a_folder(demo: Start, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    with places.alone_in(tmp_path / "demo"):
        child = demo()
        assert child.wait(60.0) == 1
    assert "--data" in child.events("demo_failed")[0]["message"]


def test_the_brokers_usual_port_gives_way_but_a_wanted_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(places, "USUAL_MQTT_PORT", taken)
        port, mqtt_port = places.choose_ports(0, None)
        assert len({port, mqtt_port, taken, 0}) == 4
        with pytest.raises(PlaceTaken, match="--mqtt-port"):
            places.choose_ports(0, taken)


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FolderUnusable, match="--data"):
        places.choose_folder(tmp_path / "file" / "demo")
    monkeypatch.setattr(places, "USUAL_FOLDER", tmp_path / "file" / "demo")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    chosen = places.choose_folder(None)
    assert chosen.is_dir()
    assert chosen.parent == tmp_path


def test_a_narrow_terminal_gets_whole_links(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    link = "http://127.0.0.1:8000/timer/exercises?token=" + "x" * 200
    Teller(as_json=False).prepared(Scene({"timers": link}, {"anna@demo.homeside": "[a password]"}))
    shown = capsys.readouterr().out
    assert link in shown
    assert "anna@demo.homeside   password [a password]" in shown
