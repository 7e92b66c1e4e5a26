from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.programs import RelayProgram


@pytest.fixture(scope="session")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProgram]:
    program = RelayProgram(tmp_path_factory.mktemp("relay"))
    yield program
    assert program.stop() == 0
    assert not program.faults()


@pytest.fixture
def http(relay: RelayProgram) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=relay.http) as client:
        yield client
