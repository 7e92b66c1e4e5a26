"""A source kept running into a sink that keeps all, as the agent keeps one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from agent.process.backoff import Backoff
from agent.process.supervisor import supervise
from agent.sections import Ble, Serial
from agent.sources import Reading, SensorInfo, Source
from agent.sources.ble.radio import Radio
from agent.sources.ble.source import BleSource
from agent.sources.port import Port
from agent.sources.serial import SerialSource


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
    source = BleSource(Ble(device=device, **settings), radio)
    async with _kept_running("ble", source, 0.4) as sink:
        yield source, sink


@asynccontextmanager
async def reading_port(path: Path, **settings: object) -> AsyncIterator[tuple[SerialSource, Collected]]:
    serial = Serial(port=str(path), **settings)
    source = SerialSource(serial, str(path), lambda: Port(str(path), serial.baud))
    async with _kept_running("serial", source, 0.2) as sink:
        yield source, sink


@asynccontextmanager
async def _kept_running(name: str, source: Source, most_s: float) -> AsyncIterator[Collected]:
    sink = Collected()
    work = supervise(name, lambda: source.run(sink), Backoff(0.1, most_s), troubled=sink.problems.append)
    task = asyncio.create_task(work)
    try:
        yield sink
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
