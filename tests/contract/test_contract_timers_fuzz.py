"""schemathesis over the API's own OpenAPI page: whatever the page allows or forbids, the answer is one it describes."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from relay.timers.openapi import document
from tests.contract.described import CHECKS
from tests.contract.timers import Timers, client, error
from tests.programs import RelayProgram

schema = schemathesis.openapi.from_dict(document())


@pytest.fixture(scope="module")
def timers(relay: RelayProgram) -> Iterator[Timers]:
    with client(relay) as found:
        yield found


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_the_page_describes_is_what_happens(timers: Timers, case: schemathesis.Case) -> None:
    base = f"http://127.0.0.1:{timers.relay.care_port}"
    headers = {"Authorization": f"Bearer {timers.bearer}"}
    case.call_and_validate(base_url=base, headers=headers, checks=CHECKS)


def test_the_page_served_is_the_one_tested(timers: Timers) -> None:
    served = httpx.get(f"http://127.0.0.1:{timers.relay.care_port}/timers/openapi.json").json()
    assert served["paths"] == document()["paths"]
    assert error(timers.http.get("/timers/v1/nothing")) == (404, "NOT_FOUND")
