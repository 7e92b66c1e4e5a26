"""Reads one sensor for a while, as the agent would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from agent.errors import SourceError
from agent.sensors.meter import Meter
from agent.sources import Sink, Source

FIRST_WITHIN_S = 30.0


async def read_for(
    source: Source,
    meter: Meter,
    seconds: float,
    each: Callable[[], None],
    every_s: float = 0.25,
    sink: Sink | None = None,
) -> None:
    """Read for `seconds` from the first sample on, calling `each` every `every_s`. SourceError when it cannot be read.

    `sink` stands before the meter when more than its figures is wanted.
    """
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(source.run(sink or meter))
    deadline, first = loop.time() + FIRST_WITHIN_S, True
    try:
        while loop.time() < deadline and not running.done():
            await asyncio.wait([running], timeout=every_s)
            if first and meter.samples_seen:
                deadline, first = loop.time() + seconds, False
            each()
        if running.done():
            await running
        if first:
            raise SourceError(f"no samples within {FIRST_WITHIN_S:.0f} s: is it worn, started and charged?")
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError, SourceError):
            await running
