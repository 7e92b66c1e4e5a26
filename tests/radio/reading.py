"""A source kept running into a sink that keeps all, as the agent keeps one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from agent.process.backoff import Backoff
from agent.process.supervisor import supervise
from agent.sections import Ble
from agent.sources import Reading, SensorInfo
from agent.sources.ble.radio import Radio
from agent.sources.ble.source import BleSource


class Collected:
    def __init__(self) -> None:
        self.infos: list[SensorInfo] = []
        self.readings: list[Reading] = []
        self.problems: list[str] = []

    def sensor(self, info: SensorInfo) -> None:
        self.infos.append(info)

    def samples(self, reading: Reading) -> None:
        self.readings.append(reading)

    @property
    def count(self) -> int:
        return sum(len(reading.t_ns) for reading in self.readings)

    @property
    def lost(self) -> int:
        return sum(reading.lost for reading in self.readings)

    @property
    def t_ns(self) -> np.ndarray:
        return np.concatenate([reading.t_ns for reading in self.readings])

    @property
    def xyz(self) -> np.ndarray:
        return np.concatenate([reading.xyz for reading in self.readings])


@asynccontextmanager
async def reading(radio: Radio, device: str, **settings: object) -> AsyncIterator[tuple[BleSource, Collected]]:
    source, sink = BleSource(Ble(device=device, **settings), radio), Collected()
    task = asyncio.create_task(
        supervise("ble", lambda: source.run(sink), Backoff(0.1, 0.4), troubled=sink.problems.append)
    )
    try:
        yield source, sink
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
