"""Python's cycle collector, told to leave alone what lives long: sessions, sockets, modules.

A full collection walks every object there is: with 10,000 timers and 2,000 sockets it stood still for 0.3 to 0.5 s.
So what survives one is frozen out of the next, and everything is walked again only when memory has doubled, and more.
(How many objects are frozen is not asked: Python counts them one by one, 60 ms of each ten seconds.)
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
from collections.abc import Iterator
from pathlib import Path

import structlog

LOOK_EVERY_S = 10.0
SLACK = 128 * 1024 * 1024
"""Bytes that may be added before growth counts at all: a small relay never stops for this."""
THRESHOLDS = (700, 10, 2)
"""The oldest generation is walked after about 15,000 objects more than were let go, not 70,000: 5 ms, not 25."""

log = structlog.get_logger(__name__)


class Collector:
    """`policy` is in force inside its context; `run` looks from time to time whether a thorough walk is due."""

    def __init__(self) -> None:
        self._settled = resident_bytes()

    @contextlib.contextmanager
    def policy(self) -> Iterator[None]:
        self._freeze()
        before = gc.get_threshold()
        gc.callbacks.append(_freeze_survivors)
        gc.set_threshold(*THRESHOLDS)
        try:
            yield
        finally:
            gc.set_threshold(*before)
            gc.callbacks.remove(_freeze_survivors)
            gc.unfreeze()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if resident_bytes() > self._settled * 2 + SLACK:
                self.settle()

    def settle(self) -> None:
        """Walk everything, then freeze what lives."""
        gc.unfreeze()
        found = gc.collect()
        self._freeze()
        log.info("memory_walked", resident_bytes=self._settled, collected=found)

    def _freeze(self) -> None:
        """Python puts a full collection off until a quarter is added to what the last one left. It is told that
        nothing is left, by one that walks nothing; else the next comes after 100,000 objects, and is long."""
        gc.freeze()
        gc.collect()
        self._settled = resident_bytes()


def _freeze_survivors(phase: str, info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] == 2:
        gc.freeze()


def resident_bytes(statm: Path = Path("/proc/self/statm")) -> int:
    """What this process keeps in memory, as the kernel counts it; without /proc, the most that it ever was."""
    try:
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
