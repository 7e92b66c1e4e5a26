"""The programs of a trial cluster on one machine: each a child process that is started again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from relay.errors import SettingsError

POSTGRES = Path("/usr/lib/postgresql")
AGAIN_AFTER_S = 1.0
END_WITHIN_S = 8.0

Works = Callable[[], Awaitable[bool]]
log = structlog.get_logger(__name__)


@dataclass
class Program:
    """A child process: its command, its log file, and a check that it works."""

    name: str
    command: list[str]
    log: Path
    works: Works
    ends_by: signal.Signals = signal.SIGTERM
    identity: dict[str, Any] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Start it, and again whenever it ends; it is stopped when this is cancelled."""
        try:
            while True:
                await self._start()
                assert self.process is not None
                code = await self.process.wait()
                log.warning("program_ended", name=self.name, code=code, again_s=AGAIN_AFTER_S)
                await asyncio.sleep(AGAIN_AFTER_S)
        finally:
            await asyncio.shield(self.end())

    async def _start(self) -> None:
        with self.log.open("ab") as lines:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=lines,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                **self.identity,
            )
        log.info("program_started", name=self.name, pid=self.process.pid)

    async def end(self) -> None:
        if self.process is None or self.process.returncode is not None:
            return
        for number in (signal.SIGCONT, self.ends_by):
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
        try:
            await asyncio.wait_for(self.process.wait(), END_WITHIN_S)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    async def ready(self) -> None:
        """Wait until it works."""
        while True:
            if await self.works():
                return
            await asyncio.sleep(0.1)


def find(name: str, package: str) -> str:
    """A program's path. Raises SettingsError that names the Debian package to install."""
    found = shutil.which(name, path=os.pathsep.join([os.defpath, "/usr/sbin", "/usr/local/bin"]))
    if found is None:
        raise SettingsError(f"{name} is not installed. On Debian:  sudo apt-get install {package}")
    return found


def make(name: str, command: list[str], log: Path, works: Works) -> Program:
    """A program that is stopped with SIGTERM."""
    return Program(name, command, log, works)


def make_postgres(folder: Path, port: int, log: Path) -> Program:
    """A PostgreSQL in `folder`, for the trial only. It refuses to run as root, so for root it runs as `nobody`."""
    found = sorted(POSTGRES.glob("*/bin/initdb"))
    programs = found[-1].parent if found else Path(find("initdb", "postgresql")).parent
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    data = folder / "data"
    words = ["-D", str(data), "-U", "homeside", "-A", "trust", "-E", "UTF8", "--no-sync"]
    done = subprocess.run(  # noqa: S603  own program, own arguments
        [str(programs / "initdb"), *words], cwd=folder, capture_output=True, text=True, check=False, **identity
    )
    if done.returncode:
        raise SettingsError(f"PostgreSQL could not be set up: {done.stderr.strip().splitlines()[-1]}")
    command = [
        programs / "postgres",
        "-D",
        data,
        "-p",
        port,
        "-h",
        "127.0.0.1",
        "-k",
        folder,
        "-c",
        "max_connections=90",
    ]
    asked = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "homeside"]

    async def works() -> bool:
        return await (await asyncio.create_subprocess_exec(*asked)).wait() == 0

    return Program("postgres", [*map(str, command)], log, works, signal.SIGINT, {**identity, "cwd": folder})
