"""The units: systemd understands every line, the sandbox is tight, and what they start and run as exists."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from relay.settings import RelaySettings
from tests import peers

SERVICES = ("homeside-relay.service", "homeside-agent.service", "homeside-enrol.service", "homeside-updater.service")
UNITS = (*SERVICES, "homeside-updater.path", "homeside-updater.timer")
STEADY = SERVICES[:2]
MOST_EXPOSED = 30  # of 100, as systemd-analyze counts: below 3.0 it says OK
INSTALLED = re.compile(r"/opt/homeside/(current|trusted)/bin/homeside")


@pytest.fixture(scope="module")
def analyze() -> str:
    return peers.find_peer("systemd-analyze", "systemd")


@pytest.fixture
def unit(request: pytest.FixtureRequest, repo_root: Path, tmp_path: Path) -> Path:
    """A copy, with all others beside it, whose program exists on this machine: systemd judges the unit alone."""
    for name in UNITS:
        text = (repo_root / "systemd" / name).read_text("utf-8")
        (tmp_path / name).write_text(INSTALLED.sub(sys.executable, text), "utf-8")
    return tmp_path / str(request.param)


def settings(unit: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit, "utf-8")
    return parser["Service"]


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("unit", UNITS, indirect=True)
def test_systemd_has_nothing_to_say_against_it(analyze: str, unit: Path) -> None:
    done = run(analyze, "verify", "--man=no", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", UNITS[:1], indirect=True)
def test_a_misspelt_key_would_be_noticed(analyze: str, unit: Path) -> None:
    unit.write_text(unit.read_text("utf-8").replace("ProtectHome=", "ProtectHouse="), "utf-8")
    assert "ProtectHouse" in run(analyze, "verify", "--man=no", unit).stderr


@pytest.mark.parametrize("unit", SERVICES, indirect=True)
def test_the_sandbox_is_tight(analyze: str, unit: Path) -> None:
    words = ("security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED}")
    done = run(analyze, *words, unit)
    assert done.returncode == 0, done.stdout[-300:]
    unit.write_text("[Service]\nExecStart=/bin/true\n", "utf-8")
    assert run(analyze, *words, unit).returncode != 0


@pytest.mark.parametrize("name", SERVICES)
def test_it_starts_a_command_with_options_that_exist(repo_root: Path, name: str) -> None:
    program, command, *words = settings(repo_root / "systemd" / name)["ExecStart"].split()
    assert INSTALLED.fullmatch(program)
    shown = run(sys.executable, repo_root / "homeside.py", command, "--help")
    assert shown.returncode == 0, shown.stderr
    assert [word for word in words if word.startswith("--") and word not in shown.stdout] == []


@pytest.mark.parametrize("name", STEADY)
def test_it_comes_back_is_watched_and_writes_only_its_own_folder(repo_root: Path, name: str) -> None:
    service = settings(repo_root / "systemd" / name)
    assert service["Restart"] == "always"
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) >= 30
    assert service["ProtectSystem"] == "strict"
    assert service["StateDirectory"] == service["User"] == name.removesuffix(".service")
    assert "ReadWritePaths" not in service


def test_the_relay_may_open_what_its_settings_promise(repo_root: Path) -> None:
    """Half of its descriptors are for sockets, a quarter for kits, as relay.entrance.porter shares them out."""
    most, promised = int(settings(repo_root / "systemd" / SERVICES[0])["LimitNOFILE"]), RelaySettings()
    assert promised.limits.viewers + promised.timers.sockets + promised.signs.clients <= most // 2
    assert 5 * promised.limits.kits_per_address <= most // 4


def test_the_updater_runs_what_was_last_seen_to_work(repo_root: Path) -> None:
    service = settings(repo_root / "systemd" / "homeside-updater.service")
    assert service["ExecStart"].startswith("/opt/homeside/trusted/")
    assert service["ReadWritePaths"] == "-/opt/homeside"


def test_the_invitation_is_handed_in_as_a_credential(repo_root: Path) -> None:
    service = settings(repo_root / "systemd" / "homeside-enrol.service")
    name, path = service["LoadCredential"].split(":")
    assert f"%d/{name}" in service["ExecStart"]
    assert service["ExecStartPost"].endswith(f"rm -f {path}")


def test_the_users_they_run_as_are_made(repo_root: Path, tmp_path: Path) -> None:
    sysusers = peers.find_peer("systemd-sysusers", "systemd")
    (tmp_path / "etc").mkdir()
    done = run(sysusers, f"--root={tmp_path}", repo_root / "systemd" / "sysusers.d" / "homeside.conf")
    assert done.returncode == 0, done.stderr
    made = {line.split(":")[0] for line in (tmp_path / "etc" / "passwd").read_text("utf-8").splitlines()}
    assert made == {settings(repo_root / "systemd" / name)["User"] for name in STEADY}


def test_the_folders_they_meet_are_made(repo_root: Path, tmp_path: Path) -> None:
    tmpfiles = peers.find_peer("systemd-tmpfiles", "systemd")
    done = run(tmpfiles, "--create", f"--root={tmp_path}", repo_root / "systemd" / "tmpfiles.d" / "homeside.conf")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "opt" / "homeside" / "slots").is_dir()
