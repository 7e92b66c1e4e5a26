from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.contract.care import Care
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


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def care(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Care]:
    """The physiotherapy API with people in it, on either database."""
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    running = Care(tmp_path_factory.mktemp(f"care-{request.param}"), request.param, server)
    yield running
    assert running.relay.stop() == 0
    assert not running.relay.faults()
