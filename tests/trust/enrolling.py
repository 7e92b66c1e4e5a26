"""A relay that enrols kits, and kits that enrol with it, as their users start them."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from agent.identity.enrol import enrol
from agent.identity.exchange import trusting
from agent.identity.folder import IdentityFolder
from agent.identity.settings import read_invitation
from relay.auth import Principal, Role, Tokens, load_secret
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

    @cached_property
    def https(self) -> httpx.Client:
        """An admin's."""
        who = Principal("operator", Role.ADMIN)
        bearer = Tokens(load_secret(self.data / "secret")).issue(who, now_s=time.time(), lifetime_s=3600)
        trust = trusting(self.anchor.read_text())
        headers = {"Authorization": f"Bearer {bearer}"}
        return httpx.Client(base_url=f"{self.url}/identity/v1", verify=trust, headers=headers, timeout=30)

    @property
    def anchor(self) -> Path:
        """Whom to trust on its public port."""
        return self.data / "tls" / "certificate.pem"

    def invite(self, *kits: str, hours: float | None = None) -> list[dict[str, Any]]:
        """As `claims make` does, over HTTP."""
        fingerprint = self.https.get("/authority").json()["fingerprint"]
        answer = self.https.post("/claims", json={"kits": kits, "hours": hours})
        assert answer.status_code == 201, answer.text
        return [
            {"kit": made["kit"], "relay": self.url, "claim": made["code"], "fingerprint": fingerprint}
            for made in answer.json()["claims"]
        ]

    def install(self, kit: str, state: Path) -> Path:
        """An enrolled kit's key and certificate; what `homeside enrol` does, without a process of its own."""
        (invited,) = self.invite(kit)
        enrol(IdentityFolder(state), read_invitation(None, invited))
        return state / "identity" / "kit.pem"

    def revoke(self, kit: str) -> None:
        assert self.https.post(f"/kits/{kit}/revoke", json={"why": "stolen"}).status_code == 200

    def enrol(self, invited: dict[str, Any], state: Path, *more: str | Path) -> subprocess.CompletedProcess[str]:
        given = [word for name in ("kit", "relay", "claim", "fingerprint") for word in (f"--{name}", invited[name])]
        return homeside("enrol", *given, "--state", state, *more)

    def audit(self) -> list[dict[str, Any]]:
        return list(self.https.get("/audit", params={"most": 1000}).json()["audit"])

    def stop(self) -> None:
        if "https" in self.__dict__:
            self.https.close()
        assert self.program.stop() == 0
