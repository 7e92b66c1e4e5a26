"""A kit's machine as the updater meets it, in a folder; as a program, one pass that may be killed at a step.

`python -m tests.provisioning.updating FOLDER VERSION [STEP]`. What stands for the agent is the release's own
`homeside --version`, run by way of `current`: a release that cannot even say that is not healthy.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import msgspec

from core.contracts.fleet import Updated
from core.contracts.release import decode_keys
from provisioning.durable import link
from provisioning.updater.fetch import fetch
from provisioning.updater.slots import COMPLETE, Slots
from provisioning.updater.updater import Health, Note, Updater
from tests.provisioning.releases import release, trusted

FIRST = "1.0.0"


class Machine:
    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.state = folder, folder / "opt", folder / "state"
        self.releases = folder / "releases"

    def prepare(self) -> None:
        """It runs FIRST, in slot a."""
        self.state.mkdir(parents=True)
        trusted(self.folder / "keys")
        (self.root / "slots").mkdir(parents=True)
        slots = Slots(self.root, system_packages=False)
        slots.fill("slots/a", release(self.releases, FIRST), decode_keys((self.folder / "keys").read_text()))
        link(self.root / "current", "slots/a")
        link(self.root / "trusted", "slots/a")
        self.restart()

    def note(self, version: str) -> Note:
        bundle = self.releases / f"homeside-{version}.tar"
        return Note(version, hashlib.sha256(bundle.read_bytes()).hexdigest(), str(bundle))

    def restart(self) -> None:
        """The new run writes its health only if it can say its version; the old run's stays otherwise."""
        words = [str(self.root / "current" / "bin" / "homeside"), "--version"]
        done = subprocess.run(words, cwd="/", capture_output=True, text=True)
        if done.returncode == 0:
            said = {"version": done.stdout.split()[-1], "boot": uuid.uuid4().hex, "connected": True, "measuring": True}
            (self.folder / "health.json").write_text(json.dumps(said))

    def health(self) -> Health:
        return msgspec.json.decode((self.folder / "health.json").read_bytes(), type=Health)

    def updater(self, die_at: str = "", steps: list[str] | None = None) -> Updater:
        def reached(step: str) -> None:
            if steps is not None:
                steps.append(step)
            if step == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

        return Updater(
            Slots(self.root, system_packages=False),
            self.state,
            keys=lambda: decode_keys((self.folder / "keys").read_text()),
            platform=(f"cp{sys.version_info.major}{sys.version_info.minor}", platform.machine()),
            fetch=lambda note, target: fetch([note.url], target, note.sha256, None),
            restart=self.restart,
            health=self.health,
            healthy_within_s=0.5,
            room=lambda: 1 << 40,
            reached=reached,
        )

    def killed_at(self, version: str, step: str) -> None:
        words = [sys.executable, "-m", "tests.provisioning.updating", str(self.folder), version, step]
        done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert done.returncode == -signal.SIGKILL, done.stderr

    def runs(self) -> str:
        """The version that `current` leads to, which must be complete and must start."""
        version = (self.root / "current" / COMPLETE).read_text().strip()
        self.restart()
        assert self.health().version == version
        return version


def main() -> None:
    folder, version, step = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    machine = Machine(folder)
    outcome: Updated | None = machine.updater(step).run(machine.note(version))
    print(outcome)


if __name__ == "__main__":
    main()
