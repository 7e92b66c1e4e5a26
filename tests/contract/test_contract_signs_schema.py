"""Fingerspelling's OpenAPI document and its answers agree, whatever is asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.programs import RelayProgram


def test_answers_are_as_the_openapi_document_says(relay: RelayProgram, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{relay.http}/signs/openapi.json"]
    # Signs, languages and addresses have bounds that no schema tells, so a refusal of what fits it is no fault here.
    options = ["--checks", "all", "--exclude-checks", "positive_data_acceptance", "--phases", "coverage,fuzzing"]
    options += ["--max-examples", "5", "--seed", "1", "--no-color"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
