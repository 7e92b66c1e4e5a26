"""The Debian package: what is in it, and, with `make soak`, its life in a clean root."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from provisioning.errors import InstallFailed
from provisioning.install.debian import package
from tests import peers
from tests.journeys.fleet import beating
from tests.provisioning.releases import SOURCES, wheel

SUITE = {(3, 11): "bookworm", (3, 13): "trixie"}


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    peers.find_peer("dpkg-deb", "dpkg")
    folder = tmp_path_factory.mktemp("deb")
    units = {
        f"homeside-1.0.0.data/data/share/homeside/{path.relative_to(peers.REPO_ROOT).as_posix()}": path.read_bytes()
        for path in (peers.REPO_ROOT / "systemd").rglob("*")
        if path.is_file()
    }
    return package([wheel(folder, "1.0.0", units)], folder / "dist")


def shown(*words: str | Path) -> str:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True).stdout


def test_what_is_in_the_package(deb: Path) -> None:
    listed = shown("dpkg-deb", "--contents", deb)
    assert {line.split()[1] for line in listed.splitlines()} == {"root/root"}
    names = {line.split()[5] for line in listed.splitlines()}
    assert "./usr/lib/homeside/bin/homeside" in names
    assert any(name.endswith("site-packages/agent/app.py") for name in names)
    assert "./usr/lib/homeside/share/homeside/systemd/homeside-agent.service" in names
    assert "./usr/bin/homeside -> ../lib/homeside/bin/homeside" in listed
    assert not [line for line in listed.splitlines() if line.startswith(("d", "-")) and line[8] == "w"]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"bin/python3 -> /usr/bin/python{version}" in listed


def test_what_the_package_says(deb: Path) -> None:
    fields = shown("dpkg-deb", "--field", deb)
    assert "Package: homeside\nVersion: 1.0.0\n" in fields
    assert re.search(r"Depends: python3 \(>= 3\.\d+~\), python3 \(<< 3\.\d+~\)", fields)
    assert "not a medical device" in fields
    for name in ("postinst", "prerm", "postrm"):
        script = shown("dpkg-deb", "--info", deb, name)
        assert subprocess.run(["sh", "-n"], input=script, text=True).returncode == 0


def test_a_package_without_homeside_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(InstallFailed, match="own wheel"):
        package([], tmp_path)


@pytest.fixture
def clean_root(tmp_path: Path) -> Iterator[Path]:
    """A fresh Debian, by debootstrap from the archive this machine itself is set to."""
    tool = peers.find_peer("debootstrap", "debootstrap")
    suite = SUITE.get(sys.version_info[:2])
    if suite is None or shutil.disk_usage(tmp_path).free < 2 << 30:
        pytest.skip("a clean root needs 2 GB, and a Debian that has this Python")
    listed = shown("apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)", "Created-By: Packages")
    site = next((line.split()[0] for line in listed.splitlines() if line.endswith(f" {suite}")), "")
    if not site:
        pytest.skip(f"this machine's apt knows no archive with {suite}")
    root = tmp_path / "root"
    done = subprocess.run(
        [tool, "--variant=minbase", "--include=python3,systemd", suite, str(root), site], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"debootstrap could not make a root here: {done.stdout.strip().splitlines()[-1]}")
    yield root
    shutil.rmtree(root, ignore_errors=True)


def started(root: Path, program: str, *words: str) -> peers.Child:
    """A program of the package as its unit starts it: its own user, on its own folder."""
    user, state = f"homeside-{program}", f"/var/lib/homeside-{program}"
    made = ["chroot", root, "install", "--directory", "--mode=0700", f"--owner={user}", f"--group={user}", state]
    subprocess.run(made, check=True)
    command = ["chroot", f"--userspec={user}:{user}", root, "/opt/homeside/current/bin/homeside", program, *words]
    return peers.Child(command)


def a_sample_goes_from_kit_to_relay(root: Path) -> None:
    ports = {"--port": peers.free_port(), "--mqtt-port": peers.free_port()}
    others = ["--care-port", "0", "--signs-port", "0", "--translate-port", "0"]
    words = [str(word) for pair in ports.items() for word in pair]
    beating(root / "beats.ndjson")
    with peers.ended_afterwards() as children:
        relay = started(root, "relay", "--data", "/var/lib/homeside-relay", *words, *others)
        children.append(relay)
        relay.wait_for_event("relay_ready", 120.0)
        broker = f"mqtt://127.0.0.1:{ports['--mqtt-port']}"
        where = ["--state", "/var/lib/homeside-agent", "--broker", broker]
        agent = started(root, "agent", "--replay", "/beats.ndjson", *where)
        children.append(agent)
        session = agent.wait_for_event("session_started", 60.0)["session"]
        recording = f"http://127.0.0.1:{ports['--port']}/api/v1/sessions/{session}"

        def stored() -> int:
            answer = httpx.get(recording)
            return len(answer.json()["samples"]) if answer.status_code == 200 else 0

        agent.wait_until(stored, "a stored sample", 60.0)


@pytest.mark.soak
def test_it_is_installed_runs_is_upgraded_and_purged_in_a_clean_root(clean_root: Path, tmp_path: Path) -> None:
    """With all that agent and relay need inside: what `make deb` has left in dist/."""
    found = sorted((peers.REPO_ROOT / "dist").glob("homeside_*.deb"))
    if not found:
        pytest.skip("no package in dist/: make deb")
    shutil.copy(found[-1], clean_root / "homeside.deb")

    def inside(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["chroot", str(clean_root), *words], capture_output=True, text=True)

    def files() -> set[str]:
        kept = ("/var/lib/dpkg", "/var/log", "/var/cache", "/run", "/homeside.deb")
        backups = re.compile(r"/etc/(passwd|group|shadow|gshadow|\.pwd|subuid|subgid)")
        found = {
            f"/{path.relative_to(clean_root)}"
            for path in clean_root.rglob("*")
            if not path.is_dir() or path.is_symlink()
        }
        return {name for name in found if not name.startswith(kept) and not backups.match(name)}

    before = files()
    for _ in range(2):
        done = inside("dpkg", "-i", "/homeside.deb")
        assert done.returncode == 0, done.stderr
    for command in ("--version", "agent --help", "relay --help", "updater --help", "enrol --help"):
        done = inside("homeside", *command.split())
        assert done.returncode == 0, done.stderr
    assert inside("readlink", "/opt/homeside/current").stdout.strip() == "/usr/lib/homeside"
    assert "homeside-agent" in inside("cat", "/etc/passwd").stdout
    assert inside("homeside", "install", "agent", "relay").stdout == "All is in place.\n"
    checked = inside("systemd-analyze", "verify", "--man=no", "/etc/systemd/system/homeside-agent.service")
    assert (checked.returncode, checked.stderr) == (0, "")
    a_sample_goes_from_kit_to_relay(clean_root)
    done = inside("dpkg", "--remove", "homeside")
    assert done.returncode == 0, done.stderr
    kept = ("/etc/homeside/", "/var/lib/homeside-relay/", "/var/lib/homeside-agent/", "/beats.ndjson")
    assert not [name for name in files() - before if not name.startswith((*kept, "/opt/homeside/"))]
    assert inside("test", "-s", "/var/lib/homeside-relay/secret").returncode == 0, "what was measured outlives it"
    done = inside("dpkg", "--purge", "homeside")
    assert done.returncode == 0, done.stderr
    assert not [name for name in files() - before if not name.startswith(kept)]


def test_the_sources_are_those_of_the_wheel() -> None:
    listed = (peers.REPO_ROOT / "pyproject.toml").read_text()
    assert f"only-include = {list(SOURCES)}".replace("'", '"') in listed
