"""PostgreSQL with TimescaleDB, from the Debian release that has both, unpacked into a folder of its own.

Nothing of it is installed: its programs run with that folder as their root, without privileges, on loopback.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.peers import REPO_ROOT, find_peer
from tests.peers_postgres import SETTINGS, Postgres

SUITE = "trixie"
PACKAGES = "base-files,dash,postgresql-17,postgresql-17-timescaledb"
"""Debian packages to unpack. The first two provide the root's folder layout and a shell, which initdb needs."""
PROGRAMS = "/usr/lib/postgresql/17/bin"
BUILT = REPO_ROOT / "build"
ENTER = 'mount --rbind /dev "$0/dev" && exec chroot --userspec=nobody:nogroup "$0" "$@"'
"""Shell command that enters the root, in a mount namespace that ends with the program."""


class Timescale(Postgres):
    """Its databases have no tables yet, but have the extension unless created with `bare`."""

    def __init__(self, settings: tuple[str, ...] = SETTINGS) -> None:
        self._root = unpacked()
        super().__init__((*settings, "shared_preload_libraries=timescaledb", "timescaledb.telemetry_level=off"))

    def database(self, *, bare: bool = False) -> str:
        url = super().database(bare=True)
        if not bare:
            self.sql("CREATE EXTENSION timescaledb", url.rsplit("/", 1)[-1])
        return url

    def _identity(self, account: pwd.struct_passwd) -> dict[str, Any]:
        return {}

    def _home(self) -> Path:
        return self._root / "var" / "lib" / "postgresql"

    def _server(self, program: str, *words: str) -> list[str]:
        """The command that runs a server program inside the root; paths are rewritten to be relative to it."""
        within = [word.replace(str(self._root), "") for word in words]
        return [
            "unshare",
            "--mount",
            "sh",
            "-c",
            ENTER,
            str(self._root),
            f"/usr/lib/postgresql/17/bin/{program}",
            *within,
        ]


def unpacked() -> Path:
    """The unpacked root, created once for all processes, from the Debian archive this machine uses."""
    if os.geteuid() != 0:
        pytest.skip("a PostgreSQL in a root of its own can be started by root alone")
    root = BUILT / "timescaledb"
    BUILT.mkdir(exist_ok=True)
    with (BUILT / "timescaledb.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            _unpack(root)
    return root


def _unpack(root: Path) -> None:
    tool, new = find_peer("mmdebstrap", "mmdebstrap"), root.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    command = [tool, "--quiet", "--variant=extract", f"--include={PACKAGES}", SUITE, str(new), archive()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"TimescaleDB could not be fetched from Debian's {SUITE}: {done.stderr.strip()[-500:]}")
    for name in ("passwd", "group"):
        shutil.copy(Path("/etc", name), new / "etc" / name)
    new.rename(root)


@cache
def archive() -> str:
    """URL of the Debian archive that this machine's apt uses."""
    words = ["indextargets", "--format", "$(SITE)", "Created-By: Packages", "Label: Debian"]
    listed = subprocess.run([find_peer("apt-get", "apt"), *words], capture_output=True, text=True, check=False)
    if not (sites := listed.stdout.split()):
        pytest.skip("this machine's apt knows no Debian archive")
    return sites[0]
