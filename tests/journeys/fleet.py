"""Kits of a fleet on one machine: each with its card, its slots, its updater, and its agent as a service runs it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from core.contracts.release import decode_keys
from provisioning.durable import link
from provisioning.updater.slots import Slots
from tests.peers import REPO_ROOT, Child
from tests.programs import token
from tests.provisioning.releases import release, trusted
from tests.trust.enrolling import TrustingRelay

FIRST = "1.0.0"
SERVICE = """\
trap 'kill $agent; wait $agent; exit 0' TERM
while :; do
  "{root}/current/bin/homeside" agent --config "{config}" >> "{log}" 2>&1 &
  agent=$!
  echo $agent > "{pid}"
  wait $agent
  sleep 0.3
done
"""


def beating(path: Path) -> Path:
    """A minute that an agent can play over and over."""
    samples = [{"t": 10 * n, "ax": 0.0, "ay": 0.0, "az": 9.8 + 0.05 * math.sin(n / 8)} for n in range(6000)]
    path.write_text(
        "\n".join(
            json.dumps({"type": "samples_batch", "payload": {"samples": samples[at : at + 10]}})
            for at in range(0, 6000, 10)
        )
    )
    return path


class FleetKit:
    """What lies on one kit, and what systemd would do there."""

    def __init__(self, folder: Path, name: str, card: Path, bundle: Path, keys: Path) -> None:
        self.name, self.folder, self.card = name, folder, card
        self.root, self.state = folder / "opt", folder / "state"
        (self.root / "slots").mkdir(parents=True)
        Slots(self.root, system_packages=False).fill("slots/a", bundle, decode_keys(keys.read_text()))
        for one in ("current", "trusted"):
            link(self.root / one, "slots/a")
        self.keys = keys
        self.service: Child | None = None

    def homeside(self, by: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [str(self.root / by / "bin" / "homeside"), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=120, check=False)

    def enrol(self) -> None:
        done = self.homeside("current", "enrol", "--from", self.card / "homeside" / "enrol.toml", "--state", self.state)
        assert done.returncode == 0, done.stderr

    def start(self, recording: Path) -> None:
        config = self.folder / "agent.toml"
        config.write_text(
            f'state = "{self.state}"\nstatus_every_s = 1\nsession.keep = true\n'
            f'[update]\noutcome = "{self.folder}/updater/outcome.json"\n'
            f'[source.replay]\nfile = "{recording}"\nloop = true\n'
        )
        (self.folder / "updater.toml").write_text(
            f'root = "{self.root}"\nstate = "{self.folder}/updater"\nkeys = "{self.keys}"\n'
            f'wanted = "{self.state}/update.json"\nhealth = "{self.state}/health.json"\n'
            f'ca = "{self.state}/identity/ca.pem"\n'
            f'restart = ["sh", "-c", "kill $(cat {self.folder}/pid)"]\nhealthy_within_s = 20\nsystem_packages = false\n'
        )
        paths = {"root": self.root, "config": config, "log": self.folder / "agent.log", "pid": self.folder / "pid"}
        self.service = Child(["sh", "-c", SERVICE.format(**paths)])

    def update(self) -> dict[str, Any] | None:
        """What the path unit and the timer start, when the agent has left a note."""
        if not (self.state / "update.json").exists():
            return None
        done = self.homeside("trusted", "updater", "--config", self.folder / "updater.toml", "--json")
        assert done.returncode in (0, 1), done.stderr
        found: dict[str, Any] | None = json.loads(done.stdout) if done.stdout else None
        return found

    def stop(self) -> None:
        if self.service is not None and self.service.running:
            self.service.end(20.0)


class Fleet:
    """A relay, and kits whose cards came from a table."""

    def __init__(self, folder: Path, names: list[str], pilots: int) -> None:
        self.folder, self.names, self.pilots = folder, names, names[:pilots]
        self.relay = TrustingRelay(folder)
        self.keys = trusted(folder / "release-keys")
        (self.relay.data / "release-keys").write_text(self.keys.read_text())
        self.admin = folder / "admin.token"
        self.admin.write_text(token(self.relay.data, "--role", "admin"))
        bearer = {"Authorization": f"Bearer {self.admin.read_text()}"}
        self.operator = httpx.Client(base_url=f"{self.relay.program.http}/fleet/api/v1", headers=bearer, timeout=60)
        self.kits: dict[str, FleetKit] = {}

    def command(self, *words: str | Path) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "homeside", *map(str, words)],
            cwd=REPO_ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def provision(self) -> dict[str, Any]:
        table = self.folder / "kits.csv"
        table.write_text(
            "kit,tags\n" + "".join(f"{name},{'pilot' if name in self.pilots else 'later'}\n" for name in self.names)
        )
        where = ("--out", self.folder / "cards", "--relay", self.relay.url, "--ca", self.relay.root, "--json")
        found: dict[str, Any] = json.loads(
            self.command("provision", "fleet", table, *where, "--token-file", self.admin)
        )
        return found

    def start(self) -> None:
        bundle, recording = release(self.folder / "releases", FIRST), beating(self.folder / "beats.ndjson")
        for name in self.names:
            kit = FleetKit(self.folder / "kits" / name, name, self.folder / "cards" / name, bundle, self.keys)
            kit.enrol()
            kit.start(recording)
            self.kits[name] = kit

    def fleet(self, *words: str | Path) -> str:
        return self.command("fleet", *words, "--url", self.relay.program.http, "--token", self.admin.read_text())

    def shown(self) -> dict[str, dict[str, Any]]:
        return {kit["name"]: kit for kit in self.operator.get("/kits", params={"limit": 1000}).json()["kits"]}

    def stored(self, name: str) -> int:
        """Samples of a kit's session that the relay has committed."""
        answer = httpx.get(f"{self.relay.program.http}/api/v1/sessions/{self.shown()[name]['session']}")
        return len(answer.json()["samples"]) if answer.status_code == 200 else 0

    def close(self) -> None:
        self.operator.close()
        for kit in self.kits.values():
            kit.stop()
        self.relay.stop()
