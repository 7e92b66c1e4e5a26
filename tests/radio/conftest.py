from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agent.sources.ble.radio import Radio
from tests.radio.air import Air


@pytest.fixture
async def air() -> AsyncIterator[Air]:
    async with Air() as air:
        yield air


@pytest.fixture
def radio(air: Air) -> Radio:
    """The host's adapter, which is in that air."""
    return Radio(scanner=air.scanner_backend, client=air.client_backend)
