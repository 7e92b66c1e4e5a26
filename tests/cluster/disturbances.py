"""What can be done to a running program: stand still, a slow disk, another time of day. Each can be undone."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.peers import find_peer

SLOW_CALLS = "fsync,fdatasync,pwrite64,pwritev"
SLOW_US = 100_000
"""How long a disk under load keeps each of these waiting."""
SOURCE = Path(__file__).with_name("wallclock.c")


class Wallclocks:
    """A time of day of its own for each program that is started with `environment`, and for what it forks.

    Programs in Go do not ask libc for the time, and keep the machine's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "wallclocks"
        self._folder.mkdir(parents=True)
        self._folder.chmod(0o777)
        library = folder / "wallclock.so"
        flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library]
        subprocess.run([find_peer("gcc", "gcc"), *flags, SOURCE, "-ldl"], check=True)
        self.environment = {"LD_PRELOAD": str(library), "HOMESIDE_WALLCLOCKS": str(self._folder)}

    def step(self, pid: int, seconds: float) -> None:
        """From now on its clock differs from the machine's by so much. A program that has ended is left alone."""
        with suppress(FileNotFoundError), (self._folder / str(pid)).open("r+b") as file:
            file.write(struct.pack("=q", int(seconds * 1e9)))


def freeze(pid: int) -> list[int]:
    """Stop the process and its children. To its peers this looks like a cut cable: no connection closes."""
    found = family(pid)
    for one in found:
        _send(one, signal.SIGSTOP)
    return found


def thaw(pids: list[int]) -> None:
    for one in pids:
        _send(one, signal.SIGCONT)


def slow_disk(pid: int) -> subprocess.Popen[bytes]:
    """Every write and fsync of the process and its children waits SLOW_US, until `fast_disk`."""
    words = [f"--attach={one}" for one in family(pid)]
    delayed = f"--inject={SLOW_CALLS}:delay_enter={SLOW_US}"
    command = [find_peer("strace", "strace"), "-f", "-qq", "-o", os.devnull, f"--trace={SLOW_CALLS}", delayed, *words]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def fast_disk(slowing: subprocess.Popen[bytes]) -> None:
    slowing.send_signal(signal.SIGINT)
    slowing.wait(30.0)


def family(pid: int) -> list[int]:
    """The process and its children."""
    with suppress(FileNotFoundError):
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return [pid]


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
