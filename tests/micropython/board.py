"""A board on a pseudo-terminal: MicroPython itself runs the reference firmware there, on a simulated sensor."""

from __future__ import annotations

import os
import subprocess
import sys
import tty
from pathlib import Path

from tests.peers import REPO_ROOT

HERE = Path(__file__).parent
FIRMWARE = REPO_ROOT / "firmware_bridge" / "reference"
PERIOD_S, SPAN_G = 8.0, 3.0


class MicroPythonBoard:
    """`on` is power; off and on again is a restart, with the cable in."""

    def __init__(self, folder: Path, sensor: str = "adxl355", bus: str = "spi") -> None:
        self.path = folder / "board"
        self._words = [sys.executable, "-m", "micropython_unix", str(HERE / "run.py"), str(FIRMWARE), sensor, bus]
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path.symlink_to(os.ttyname(self._slave))
        self.process: subprocess.Popen[bytes] | None = None

    def on(self) -> None:
        self.process = subprocess.Popen(
            self._words, stdin=self._master, stdout=self._master, cwd=HERE, env={**os.environ, "MICROPYPATH": str(HERE)}
        )

    def off(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        self.off()
        self.path.unlink()
        os.close(self._master)
        os.close(self._slave)


def off_ms(x_g: float, monotonic_s: float) -> float:
    """How far a sample that was given this time is from when it was taken: the board's x tells."""
    taken = (x_g + SPAN_G / 2) / SPAN_G * PERIOD_S
    return ((monotonic_s - taken + PERIOD_S / 2) % PERIOD_S - PERIOD_S / 2) * 1000
