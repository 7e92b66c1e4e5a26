"""The units: systemd understands every line, the sandbox is tight, and what they start and run as exists."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from tests import peers

UNITS = ("homeside-relay.service", "homeside-agent.service")
MOST_EXPOSED = 30  # of 100, as systemd-analyze counts: below 3.0 it says OK
INSTALLED = "/opt/homeside/bin/homeside"


@pytest.fixture(scope="module")
def analyze() -> str:
    return peers.find_peer("systemd-analyze", "systemd")


@pytest.fixture
def unit(request: pytest.FixtureRequest, repo_root: Path, tmp_path: Path) -> Path:
    """A copy whose program exists on this machine, so that systemd judges the unit and not the machine."""
    copy = tmp_path / str(request.param)
    text = (repo_root / "systemd" / request.param).read_text("utf-8")
    assert INSTALLED in text
    copy.write_text(text.replace(INSTALLED, sys.executable), "utf-8")
    return copy


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
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS[:1], indirect=True)
def test_a_misspelt_key_would_be_noticed(analyze: str, unit: Path) -> None:
    unit.write_text(unit.read_text("utf-8").replace("ProtectHome=", "ProtectHouse="), "utf-8")
    assert "ProtectHouse" in run(analyze, "verify", "--man=no", unit).stderr


@pytest.mark.parametrize("unit", UNITS, indirect=True)
def test_the_sandbox_is_tight(analyze: str, unit: Path) -> None:
    words = ("security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED}")
    done = run(analyze, *words, unit)
    assert done.returncode == 0, done.stdout[-300:]
    unit.write_text("[Service]\nExecStart=/bin/true\n", "utf-8")
    assert run(analyze, *words, unit).returncode != 0


@pytest.mark.parametrize("name", UNITS)
def test_it_starts_a_command_with_options_that_exist(repo_root: Path, name: str) -> None:
    program, command, *words = settings(repo_root / "systemd" / name)["ExecStart"].split()
    assert program == INSTALLED
    shown = run(sys.executable, repo_root / "homeside.py", command, "--help")
    assert shown.returncode == 0, shown.stderr
    assert [word for word in words if word.startswith("--") and word not in shown.stdout] == []


@pytest.mark.parametrize("name", UNITS)
def test_it_comes_back_and_writes_only_its_own_folder(repo_root: Path, name: str) -> None:
    service = settings(repo_root / "systemd" / name)
    assert service["Restart"] == "always"
    assert service["ProtectSystem"] == "strict"
    assert service["StateDirectory"] == service["User"] == name.removesuffix(".service")
    assert "ReadWritePaths" not in service


def test_the_users_they_run_as_are_made(repo_root: Path, tmp_path: Path) -> None:
    sysusers = peers.find_peer("systemd-sysusers", "systemd")
    (tmp_path / "etc").mkdir()
    done = run(sysusers, f"--root={tmp_path}", repo_root / "systemd" / "sysusers.d" / "homeside.conf")
    assert done.returncode == 0, done.stderr
    made = {line.split(":")[0] for line in (tmp_path / "etc" / "passwd").read_text("utf-8").splitlines()}
    assert made == {settings(repo_root / "systemd" / name)["User"] for name in UNITS}
