"""The model files: each must match its hash in models.json, or it is not used.

They are fetched by that lock when Homeside is installed or built (hatch_build.py), into a folder beside this module.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from agent.errors import ModelsMissing

HERE = Path(__file__).resolve().parent
REMEDY = "run `make models` in the source folder, or install the homeside wheel again"


class Models:
    """A folder of models; `read` returns only files that match their locked hash."""

    def __init__(self, folder: Path = HERE / "models") -> None:
        self._folder = folder
        self._locked = {name: str(model["sha256"]) for name, model in _lock().items()}

    def read(self, name: str) -> bytes:
        """The model called `name` (without .tflite). Raises ModelsMissing with the remedy."""
        file = self._folder / f"{name}.tflite"
        try:
            body = file.read_bytes()
        except OSError as error:
            raise ModelsMissing(f"the vision model {file} cannot be read ({error.strerror}): {REMEDY}") from None
        if hashlib.sha256(body).hexdigest() != self._locked[file.name]:
            raise ModelsMissing(f"the vision model {file} is not the one Homeside was tested with: {REMEDY}")
        return body


def _lock() -> dict[str, dict[str, object]]:
    locked: dict[str, dict[str, object]] = json.loads((HERE / "models.json").read_text("utf-8"))
    return locked
