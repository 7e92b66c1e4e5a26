"""The OpenAPI document and the API agree: schemathesis makes requests from one and holds the answers against it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.programs import RelayProgram


def test_answers_are_as_the_openapi_document_says(relay: RelayProgram, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{relay.http}/scg/openapi.json"]
    options = ["--checks", "all", "--max-examples", "20", "--seed", "1", "--no-color"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
