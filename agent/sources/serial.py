"""A sensor on a serial line: bytes to samples with times, in our own frame format or another dialect.

When the port ends (unplugged, silent), so does `run`, and the supervisor opens it again; the decoder is kept, so that
samples missed meanwhile are counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agent.errors import CommandRefused
from agent.sections import Serial
from agent.sources import SensorInfo, Sink
from agent.sources.port import Port
from agent.sources.sensing import Sensing, Written
from firmware_bridge.families import COMMANDED, DIALECTS, USUAL_HZ


class SerialSource:
    """One sensor on one port; `run` for each time it is plugged in."""

    def __init__(self, settings: Serial, path: str, open_port: Callable[[], Port]) -> None:
        self.name = "serial"
        self._settings, self._path, self._open_port = settings, path, open_port
        self._decoder = DIALECTS[settings.dialect](settings.rate_hz or USUAL_HZ)
        self._framed = COMMANDED.get(settings.dialect)
        self._sensing = Sensing(path, settings, self._decoder.counters, self._decoder.tick_ns)
        self._port: Port | None = None
        self._dropped = 0

    async def run(self, sink: Sink) -> None:
        port = self._open_port()
        self._port = port
        self._decoder.break_off()
        self._sensing.connected(sink, self._write if self._framed is not None else None)
        port.start()
        asking = asyncio.create_task(self._ask())
        try:
            while True:
                for data, arrival_ns in await port.chunks(self._settings.silent_after_s):
                    for event in self._decoder.feed(data, arrival_ns):
                        self._sensing.handle(event)
                if asking.done():
                    asking.result()
        finally:
            self._sensing.disconnected()
            self._port = None
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await port.close()
            self._dropped += port.dropped

    async def set_rate(self, hz: float) -> float:
        if self._framed is None:
            raise CommandRefused(f"a sensor of dialect {self._settings.dialect} has the rate it has")
        return await self._sensing.set_rate(hz)

    async def identify(self) -> SensorInfo:
        if self._framed is None:
            return self._anonymous()
        return await self._sensing.identify()

    @property
    def samples(self) -> int:
        return self._decoder.counters.samples

    def figures(self) -> dict[str, Any]:
        dropped = self._dropped + (self._port.dropped if self._port is not None else 0)
        return {"port": self._path, **self._sensing.figures(), "chunksDropped": dropped}

    async def _ask(self) -> None:
        if self._framed is None:
            self._sensing.tell(self._anonymous())
        else:
            await self._sensing.converse()

    def _anonymous(self) -> SensorInfo:
        """The name of a sensor that cannot be asked."""
        return SensorInfo(self._path.rsplit("/", 1)[-1], self._settings.dialect)

    def _write(self, frame: bytes, written: Written | None) -> None:
        assert self._framed is not None
        if self._port is not None:
            self._port.write(self._framed(frame), written)
