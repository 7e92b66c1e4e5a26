"""Installing: once is enough, a cut anywhere can be finished or undone, and undoing gives back what was there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioning.errors import InstallFailed
from provisioning.install.installer import Installer
from provisioning.install.layout import UNITS, Part, Wanted, wanted
from tests.peers import REPO_ROOT

OURS = "etc/systemd/system/homeside-agent.service"
THEIRS = b"[Service]\n# somebody's own\nExecStart=/bin/true\n"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "release" / "bin").mkdir(parents=True)
    (tmp_path / "release" / "bin" / "homeside").touch()
    return tmp_path / "release"


@pytest.fixture
def plan(release: Path) -> Wanted:
    return wanted([Part.AGENT, Part.RELAY], REPO_ROOT / "systemd", release)


def tree(root: Path) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def machine(folder: Path) -> Path:
    """One that has a unit of that name already."""
    (folder / OURS).parent.mkdir(parents=True)
    (folder / OURS).write_bytes(THEIRS)
    return folder


def test_once_is_enough_and_undoing_gives_back(tmp_path: Path, plan: Wanted) -> None:
    root = machine(tmp_path / "root")
    before = tree(root)
    changed = Installer(root).install(plan)
    assert set(changed) == {*plan.files, *plan.settings, *plan.links}
    after = tree(root)
    assert after[OURS] == plan.files[OURS]
    assert Installer(root).install(plan) == []
    assert tree(root) == after
    Installer(root).undo()
    assert tree(root) == before
    assert Installer(root).undo() == []


def test_settings_are_the_operators_and_an_update_stays(tmp_path: Path, plan: Wanted) -> None:
    root = tmp_path / "root"
    Installer(root).install(plan)
    (root / "etc/homeside/agent.toml").write_text("kit = 'mine'\n")
    current = root / "opt/homeside/current"
    current.unlink()
    current.symlink_to("slots/b")
    assert Installer(root).install(plan) == []
    assert (root / "etc/homeside/agent.toml").read_text() == "kit = 'mine'\n"
    assert str(current.readlink()) == "slots/b"


def in_child(work: Callable[[], object]) -> int:
    """The status of a forked child that does the work."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1]


def killing(at: int) -> Callable[[str], None]:
    count = iter(range(1_000))

    def reached(_: str) -> None:
        if next(count) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return reached


def test_a_power_cut_at_every_step_can_be_finished_or_undone(tmp_path: Path, plan: Wanted) -> None:
    whole = machine(tmp_path / "whole")
    before = tree(whole)
    steps: list[str] = []
    Installer(whole, steps.append).install(plan)
    installed = {name: data for name, data in tree(whole).items() if not name.startswith("var/lib")}
    assert len(steps) > 20
    for at in range(len(steps)):
        root = machine(tmp_path / f"root-{at}")
        assert in_child(lambda root=root, at=at: Installer(root, killing(at)).install(plan)) == signal.SIGKILL  # type: ignore[misc]
        if at % 2:
            Installer(root).undo()
            assert tree(root) == before, steps[at]
        else:
            Installer(root).install(plan)
            assert {name: data for name, data in tree(root).items() if not name.startswith("var/lib")} == installed
            Installer(root).undo()
            assert tree(root) == before, steps[at]


def test_a_power_cut_at_every_step_of_undoing(tmp_path: Path, plan: Wanted) -> None:
    steps: list[str] = []
    first = machine(tmp_path / "first")
    before = tree(first)
    Installer(first).install(plan)
    Installer(first, steps.append).undo()
    for at in range(len(steps)):
        root = machine(tmp_path / f"undo-{at}")
        Installer(root).install(plan)
        assert in_child(lambda root=root, at=at: Installer(root, killing(at)).undo()) == signal.SIGKILL  # type: ignore[misc]
        Installer(root).undo()
        assert tree(root) == before, steps[at]


def test_what_cannot_be_installed_is_said(tmp_path: Path, release: Path) -> None:
    with pytest.raises(InstallFailed, match="no bin/homeside"):
        wanted([Part.AGENT], REPO_ROOT / "systemd", tmp_path)
    with pytest.raises(InstallFailed, match="the wheel brings it"):
        wanted([Part.AGENT], tmp_path, release)


def test_every_unit_of_the_tree_belongs_to_a_part() -> None:
    units = {path.name for path in (REPO_ROOT / "systemd").iterdir() if path.is_file()}
    assert units == {name for part in Part for name in UNITS[part]}
