"""schemathesis over the API's own OpenAPI page: whatever the page allows or forbids, the answer is one it describes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from relay.physio.live.routes import add_live
from relay.physio.routes import application
from tests.contract.care import Care
from tests.contract.described import CHECKS

NOTHING: Any = None
APP = application(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, ())
add_live(APP, NOTHING, NOTHING, NOTHING)
DOCUMENT = APP.openapi()
"""The page as it is served, from an application that answers nobody."""
schema = schemathesis.openapi.from_dict(DOCUMENT)
WHO = cycle(("admin", "john"))


@pytest.fixture(scope="module")
def open_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Care]:
    running = Care(
        tmp_path_factory.mktemp("fuzz"), "sqlite", None, stream_requests=1_000_000, failed_sign_ins=1_000_000
    )
    yield running
    assert running.relay.stop() == 0
    assert not running.relay.faults()


FEW, MANY = (
    settings(max_examples=count, phases=phases, deadline=None, suppress_health_check=list(HealthCheck))
    for count, phases in ((3, (Phase.explicit, Phase.generate)), (40, tuple(Phase)))
)


@schema.parametrize()
@FEW
def test_what_the_page_describes_is_what_happens(open_house: Care, case: schemathesis.Case) -> None:
    _ask(open_house, case)


@pytest.mark.soak
@schema.parametrize()
@MANY
def test_what_the_page_describes_is_what_happens_whatever_is_asked(open_house: Care, case: schemathesis.Case) -> None:
    _ask(open_house, case)


def _ask(open_house: Care, case: schemathesis.Case) -> None:
    """In turns as an admin, who is refused least, and as a patient."""
    if "logout" in case.path:
        return
    with open_house.as_(next(WHO)) as client:
        headers = {"Authorization": client.headers["authorization"]}
    case.call_and_validate(base_url=f"{open_house.relay.care}/physio", headers=headers, checks=CHECKS)


def test_the_page_served_is_the_one_tested(open_house: Care) -> None:
    with open_house.nobody() as client:
        served = client.get("/physio/openapi.json").json()
    assert served["paths"] == DOCUMENT["paths"]
