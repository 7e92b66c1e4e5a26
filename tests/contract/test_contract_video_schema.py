"""The video API's OpenAPI document and its answers agree: schemathesis makes requests from one, checks the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.programs import RelayProgram


def test_answers_are_as_the_openapi_document_says(relay: RelayProgram, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{relay.http}/video/openapi.json"]
    words = ["--exclude-checks", "positive_data_acceptance"]  # no schema says what an SDP is
    options = ["--checks", "all", "--max-examples", "15", "--seed", "1", "--no-color", "--phases", "examples,fuzzing"]
    done = subprocess.run(
        [*command, *words, *options], cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:]
