"""schemathesis over the API's own OpenAPI page: whatever the page allows or forbids, the answer is one it describes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
)

from relay.physio.live.routes import add_live
from relay.physio.routes import application
from tests.contract.care import Care

NOTHING: Any = None
APP = application(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, ())
add_live(APP, NOTHING, NOTHING)
DOCUMENT = APP.openapi()
"""The page as it is served, from an application that answers nobody."""
schema = schemathesis.openapi.from_dict(DOCUMENT)
WHO = cycle(("admin", "john"))
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    ignored_auth,
)


@pytest.fixture(scope="module")
def open_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Care]:
    running = Care(
        tmp_path_factory.mktemp("fuzz"), "sqlite", None, stream_requests=1_000_000, failed_sign_ins=1_000_000
    )
    yield running
    assert running.relay.stop() == 0
    assert not running.relay.faults()


@schema.parametrize()
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_the_page_describes_is_what_happens(open_house: Care, case: schemathesis.Case) -> None:
    """In turns as an admin, who is refused least, and as a patient."""
    if "logout" in case.path:
        return
    with open_house.as_(next(WHO)) as client:
        headers = {"Authorization": client.headers["authorization"]}
    case.call_and_validate(base_url=f"{open_house.relay.care}/physio", headers=headers, checks=list(CHECKS))


def test_the_page_served_is_the_one_tested(open_house: Care) -> None:
    with open_house.nobody() as client:
        served = client.get("/physio/openapi.json").json()
    assert served["paths"] == DOCUMENT["paths"]
