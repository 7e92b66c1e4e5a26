from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.agent.peers import Amqtt, Recorder, Sensor
from tests.radio.conftest import air, radio  # noqa: F401  fixtures


@pytest.fixture
async def amqtt() -> AsyncIterator[Amqtt]:
    broker = Amqtt()
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
def recorder() -> Iterator[Callable[..., Recorder]]:
    made: list[Recorder] = []

    def make(url: str, **options: object) -> Recorder:
        made.append(Recorder(url, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def sensor(tmp_path: Path) -> Iterator[Callable[..., Sensor]]:
    made: list[Sensor] = []

    def make(**options: object) -> Sensor:
        made.append(Sensor(tmp_path, **options))
        made[-1].plug()
        return made[-1]

    yield make
    for one in made:
        one.unplug()
