"""A relay that enrols kits, and kits that enrol with it, as their users start them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.peers import REPO_ROOT, free_port
from tests.programs import RelayProgram


def homeside(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command, run to its end."""
    command = [sys.executable, "-m", "homeside", *map(str, words)]
    return subprocess.run(command, cwd=REPO_ROOT, capture_output=True, text=True, timeout=60, check=False)


class TrustingRelay:
    """A relay whose public port and broker speak TLS, with its own authority; on loopback, and closed all the same."""

    def __init__(self, folder: Path, more: str = "", *, log_level: str = "info") -> None:
        self.folder = folder
        self.config = folder / "relay.toml"
        self.port = free_port()
        self.config.write_text(
            f'[tls]\nenabled = true\nhost = "127.0.0.1"\nport = {self.port}\n[mqtt]\ntls = true\n{more}'
        )
        self.program = RelayProgram(folder / "data", "--config", str(self.config), "--log-level", log_level)
        self.program.hears_kits()

    @property
    def data(self) -> Path:
        return self.program.data

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def root(self) -> Path:
        return self.data / "authority" / "root.pem"

    def command(self, *words: str | Path) -> str:
        done = homeside(*words, "--data", self.data, "--config", self.config)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def invite(self, *kits: str, hours: float | None = None) -> list[dict[str, Any]]:
        more = ("--hours", str(hours)) if hours else ()
        return list(json.loads(self.command("claims", "make", *kits, "--relay", self.url, "--json", *more)))

    def enrol(self, invited: dict[str, Any], state: Path, *more: str | Path) -> subprocess.CompletedProcess[str]:
        given = [word for name in ("kit", "relay", "claim", "fingerprint") for word in (f"--{name}", invited[name])]
        return homeside("enrol", *given, "--state", state, *more)

    def audit(self) -> list[dict[str, Any]]:
        return list(json.loads(self.command("kits", "audit", "--json")))

    def stop(self) -> None:
        assert self.program.stop() == 0
