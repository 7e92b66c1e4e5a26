"""The model files: each is the one named in models.json, byte for byte, or nothing is computed with it.

They are fetched by lock when Homeside is installed or built (hatch_build.py), and lie beside this module.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from agent.errors import ModelsMissing

HERE = Path(__file__).resolve().parent
REMEDY = "run `make models` in the source folder, or install the homeside wheel again"


class Models:
    """A folder of models. `path` checks a file the first time it is asked for."""

    def __init__(self, folder: Path = HERE / "models") -> None:
        self._folder = folder
        self._locked = {name: str(model["sha256"]) for name, model in _lock().items()}
        self._checked: set[str] = set()

    def path(self, name: str) -> Path:
        """Where the model called `name` (without .tflite) lies. Raises ModelsMissing, saying what to do."""
        file = self._folder / f"{name}.tflite"
        if name not in self._checked:
            try:
                found = hashlib.sha256(file.read_bytes()).hexdigest()
            except OSError as error:
                raise ModelsMissing(f"the vision model {file} cannot be read ({error.strerror}): {REMEDY}") from None
            if found != self._locked[file.name]:
                raise ModelsMissing(f"the vision model {file} is not the one Homeside was tested with: {REMEDY}")
            self._checked.add(name)
        return file


def _lock() -> dict[str, dict[str, object]]:
    locked: dict[str, dict[str, object]] = json.loads((HERE / "models.json").read_text("utf-8"))
    return locked
