"""The video API's OpenAPI document and its answers agree: schemathesis makes requests from one, checks the other.

No schema says what an SDP is; WHIP and WHEP, whose bodies are nothing else, have tests of their own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import RelayProgram


@pytest.mark.timeout(330)
def test_answers_are_as_the_openapi_document_says(relay: RelayProgram, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{relay.http}/video/openapi.json"]
    words = ["--exclude-checks", "positive_data_acceptance", "--exclude-path-regex", "/api/wh[ie]p/"]
    options = ["--checks", "all", "--max-examples", "6", "--seed", "1", "--no-color", "--phases", "examples,fuzzing"]
    done = subprocess.run(
        [*command, *words, *options], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:]
