"""What a relay does not need to start with, it does not import: `homeside relay` answers within two seconds."""

from __future__ import annotations

import subprocess
import sys

from tests.peers import REPO_ROOT

# aiortc and av are not here: the video API is made of them, and they are a twentieth of the imports.
HEAVY = (
    *("cv2", "mediapipe", "ai_edge_litert", "tensorflow", "PIL"),
    *("google.genai", "wordfreq", "reportlab", "obstore", "segno", "opentelemetry.sdk"),
    *("scipy", "matplotlib", "pandas", "httpx", "pytest"),
)
ASK = "import sys, relay.__main__; print(*sorted(sys.modules))"


def test_a_relay_imports_nothing_heavy_before_it_is_asked_for() -> None:
    run = subprocess.run([sys.executable, "-c", ASK], cwd=REPO_ROOT, capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "relay.main" in loaded
    assert [name for name in HEAVY if name in loaded] == []
