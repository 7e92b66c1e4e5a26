"""The command `homeside`: quick to answer, lazy to import, and clear about what is not installed."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

import homeside

HEAVY = ("agent", "asyncio", "fastapi", "numpy", "pydantic", "relay", "scipy", "sqlalchemy")
HELP_WITHIN_S = 0.4


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=root, capture_output=True, text=True, check=False)


def computing_s(root: Path, *words: str) -> float:
    """Processor seconds it took: what a quiet machine would take, on a busy one too."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(root, *words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_names_every_program(repo_root: Path) -> None:
    done = run(repo_root, "-m", "homeside", "--help")
    assert done.returncode == 0
    for name, program in homeside.PROGRAMS.items():
        assert f" {name} " in done.stdout
        assert program.summary[:40] in done.stdout


def test_help_is_quick_and_imports_no_program(repo_root: Path) -> None:
    imports = "import sys, homeside\ntry: homeside.main()\nfinally: print(*sys.modules, file=sys.stderr)"
    loaded = run(repo_root, "-c", imports, "--help").stderr.split()
    assert "typer" in loaded
    assert not set(HEAVY) & set(loaded)
    assert min(computing_s(repo_root, "-m", "homeside", "--help") for _ in range(3)) < HELP_WITHIN_S


def test_version_is_printed(repo_root: Path) -> None:
    done = run(repo_root, "-m", "homeside", "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("homeside")


def test_a_slip_of_the_finger_is_helped(repo_root: Path) -> None:
    done = run(repo_root, "-m", "homeside", "relya")
    assert done.returncode == 2
    assert "Did you mean 'relay'" in done.stderr


@pytest.mark.parametrize(("program", "package", "extras"), [("relay", "fastapi", "relay"), ("agent", "paho", "agent")])
def test_a_missing_extra_is_named_with_its_remedy(repo_root: Path, program: str, package: str, extras: str) -> None:
    without = f"import sys; sys.modules[{package!r}] = None; import homeside; homeside.main()"
    done = run(repo_root, "-c", without, program, "--help")
    assert done.returncode == 1
    assert f"homeside {program} needs the package '{package}'" in done.stderr
    assert f"pip install 'homeside[{extras}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fault_of_our_own_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = homeside.Program("relay.not_there:app", "relay", "A program whose module is missing.")
    monkeypatch.setitem(homeside.PROGRAMS, "relay", broken)
    with pytest.raises(ModuleNotFoundError, match="not_there"):
        homeside.load("relay")


@pytest.mark.parametrize("name", homeside.PROGRAMS)
def test_every_program_answers_help_with_an_example(repo_root: Path, name: str) -> None:
    done = run(repo_root, "-m", "homeside", name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Example" in done.stdout
    assert f"homeside {name}" in done.stdout.split("Example", 1)[1]
