"""Settings from afar: tried, kept or undone, and never half there, wherever the power goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.errors import SettingsError
from agent.files import write_whole
from agent.operations.configuration import BEGINNINGS, Configuration, nested

OLD, NEW = {"status_every_s": 7.0}, {"status_every_s": 9.0, "outbox.quota_bytes": 1 << 21}


@pytest.fixture
def kept(tmp_path: Path) -> Configuration:
    """Version 1 is in effect."""
    found = Configuration(tmp_path)
    assert found.offer(1, OLD)
    found.begin()
    found.confirm()
    return Configuration(tmp_path)


def test_a_trial_that_is_kept(kept: Configuration, tmp_path: Path) -> None:
    assert kept.begin() == OLD
    assert kept.offer(2, NEW)
    trial = Configuration(tmp_path)
    assert trial.begin() == nested(NEW)
    trial.confirm()
    after = Configuration(tmp_path)
    assert (after.begin(), after.trying) == (nested(NEW), False)
    assert after.told is not None
    assert (after.told.version, after.told.state) == (2, "applied")


def test_a_trial_that_crashes_ends_with_what_worked(kept: Configuration, tmp_path: Path) -> None:
    kept.offer(2, NEW)
    for _ in range(BEGINNINGS):
        assert Configuration(tmp_path).begin() == nested(NEW)
    last = Configuration(tmp_path)
    assert last.begin() == OLD
    assert last.told is not None
    assert (last.told.version, last.told.state) == (2, "rolled_back")
    assert Configuration(tmp_path).begin() == OLD


def test_what_was_heard_is_not_tried_again(kept: Configuration) -> None:
    kept.offer(2, NEW)
    kept.begin()
    kept.roll_back("no answer")
    assert not kept.offer(2, NEW)
    assert not kept.offer(1, OLD)
    assert kept.offer(3, NEW)


@pytest.mark.parametrize("cut", ["unlink", "open", "write", "fsync", "replace", "folder"])
def test_a_power_cut_at_any_step_of_writing_leaves_old_or_new(
    cut: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    steps: dict[str, tuple[object, str]] = {
        "unlink": (Path, "unlink"),
        "open": (__import__("os"), "open"),
        "write": (__import__("os"), "fdopen"),
        "fsync": (__import__("os"), "fsync"),
        "replace": (Path, "replace"),
        "folder": (__import__("os"), "close"),
    }

    def gone(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    owner, name = steps[cut]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, gone)
        with pytest.raises(KeyboardInterrupt):
            write_whole(path, b"new")
    assert path.read_bytes() == (b"new" if cut == "folder" else b"old")
    write_whole(path, b"newest")
    assert path.read_bytes() == b"newest"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_on_a_disk_that_refuses_what_worked_goes_on(
    kept: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("agent.operations.configuration.write_whole", full)
        with pytest.raises(OSError, match="No space"):
            kept.offer(2, NEW)
    assert kept.offer(2, NEW), "what was not kept is taken when it is offered again"
    with monkeypatch.context() as patched:
        patched.setattr("agent.operations.configuration.write_whole", full)
        untried = Configuration(tmp_path)
        assert (untried.begin(), untried.trying) == (OLD, False)
    trial = Configuration(tmp_path)
    assert trial.begin() == nested(NEW)
    with monkeypatch.context() as patched:
        patched.setattr("agent.operations.configuration.write_whole", full)
        with pytest.raises(OSError, match="No space"):
            trial.confirm()
        assert trial.trying
        trial.roll_back("no answer")
    assert trial.told is not None
    assert (trial.trying, trial.told.state) == (False, "rolled_back")


def test_a_torn_file_is_not_obeyed(tmp_path: Path) -> None:
    (tmp_path / "configuration.json").write_text('{"settings": {"status_ev')
    assert Configuration(tmp_path).begin() == {}


@pytest.mark.parametrize(
    "settings",
    [
        {"kit": "another"},
        {"state": "."},
        {"update.wanted": "x"},
        {"broker.password": "x"},
        {"privacy.led": None},
        {"a": 1, "a.b": 2},
    ],
)
def test_what_may_not_come_from_afar(settings: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"afar|at once"):
        nested(settings)


def test_dots_are_sections() -> None:
    assert nested({"a.b.c": 1, "a.b.d": 2, "e": 3}) == {"a": {"b": {"c": 1, "d": 2}}, "e": 3}


def test_every_setting_from_afar_is_one_of_the_agents(homeside: Callable[..., object]) -> None:
    from agent.settings import AgentSettings

    assert {key.split(".")[0] for key in NEW} <= set(AgentSettings.model_fields)
