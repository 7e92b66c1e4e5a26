"""A Homeside program as a child process: started, its log watched, stopped, and its last lines shown.

It is started by the same command that a user would type. Its log goes to a file; nothing is read through pipes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioning.errors import ProgramEnded

END_WITHIN_S = 10.0
LAST_LINES = 15


@dataclass
class Program:
    """One of the programs: its arguments after `homeside`, its log, and its process once started."""

    name: str
    words: list[str]
    log: Path
    process: asyncio.subprocess.Process | None = field(default=None, init=False)

    async def start(self) -> None:
        """Start it in a session of its own, so that a terminal's Ctrl-C reaches only us."""
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "homeside", *self.words),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    async def ended(self) -> int:
        assert self.process is not None
        return await self.process.wait()

    async def end(self) -> int | None:
        """Send SIGTERM, then SIGKILL if that has no effect; returns the exit code, or None if it never ran."""
        if self.process is None:
            return None
        for demand in (self.process.terminate, self.process.kill):
            with contextlib.suppress(ProcessLookupError):
                demand()
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(self.process.wait(), END_WITHIN_S)
        return self.process.returncode

    def failure(self, what: str) -> ProgramEnded:
        lines = self.log.read_text("utf-8", "replace").splitlines()[-LAST_LINES:] or ["(it wrote nothing)"]
        return ProgramEnded(f"{self.name} {what}. The end of {self.log}:\n" + "\n".join(f"  {line}" for line in lines))

    def logged(self, name: str) -> dict[str, Any] | None:
        """The first JSON log line with this event."""
        for line in self.log.read_text("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and entry.get("event") == name:
                    return entry
        return None
