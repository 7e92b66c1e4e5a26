"""Models are the ones that were locked, or there is a sentence that says what to do."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import hatch_build
from agent.errors import ModelsMissing
from agent.vision import threads
from agent.vision.network import Network
from agent.vision.weights import HERE, Models


def test_every_locked_model_is_there_with_its_licence(repo_root: Path) -> None:
    assert hatch_build.has_models(repo_root)
    models = Models()
    for name in hatch_build.models_locked(repo_root):
        assert models.read(name.removesuffix(".tflite"))[4:8] == b"TFL3"
    assert "Apache License" in (HERE / "models" / "LICENSE").read_text()
    assert "@mediapipe/pose 0.5" in (HERE / "models" / "NOTICE").read_text()


def test_a_missing_or_altered_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelsMissing, match=r"palm_detection_lite.*make models"):
        Models(tmp_path).read("palm_detection_lite")
    shutil.copy(HERE / "models" / "palm_detection_lite.tflite", tmp_path)
    assert Models(tmp_path).read("palm_detection_lite")[4:8] == b"TFL3"
    altered = bytearray((tmp_path / "palm_detection_lite.tflite").read_bytes())
    altered[-1] ^= 1
    (tmp_path / "palm_detection_lite.tflite").write_bytes(altered)
    with pytest.raises(ModelsMissing, match="not the one Homeside was tested with"):
        Models(tmp_path).read("palm_detection_lite")


def test_what_a_package_holds_instead_is_refused(repo_root: Path, tmp_path: Path) -> None:
    for name in ("package-lock.json", "LICENSE"):
        shutil.copy(repo_root / name, tmp_path)
    (tmp_path / hatch_build.MODELS_LOCK).parent.mkdir(parents=True)
    shutil.copy(repo_root / hatch_build.MODELS_LOCK, tmp_path / hatch_build.MODELS_LOCK)
    packages = tmp_path / "node_modules"
    for model in hatch_build.models_locked(repo_root).values():
        file = packages / model["package"] / model["file"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"something else")
    with pytest.raises(hatch_build.ModelChanged, match=r"pose_detection\.tflite"):
        hatch_build.cut_models(tmp_path, packages)
    assert not hatch_build.has_models(tmp_path)


@pytest.mark.parametrize(
    ("ms", "number"),
    [({1: 10, 2: 9, 4: 8.5}, 1), ({1: 10, 2: 6, 4: 5.5}, 2), ({1: 10, 2: 6, 4: 3}, 4), ({1: 10, 2: 40, 4: 40}, 1)],
    ids=["none helps", "two help", "four help", "others have the rest"],
)
def test_threads_are_as_many_as_help(ms: dict[int, float], number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_median_s", lambda _, many: ms[many] / 1000)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    assert threads.quickest(b"") == number


def test_threads_are_measured_on_this_machine() -> None:
    network = Network(Models().read("palm_detection_lite"), 0)
    network.compute(np.zeros((network.size, network.size, 3), np.uint8))
    assert np.isfinite(network.output(0)).all()
