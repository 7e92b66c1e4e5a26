"""A whole number may be written as a float; one that is not whole, a boolean and a text are no integers."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from core.contracts import scg, signs, timers
from core.contracts.errors import ContractError
from core.contracts.physio import CreateSession


@pytest.mark.parametrize("written", ["600000", "600000.0", "6e5", "6.0E+5"])
def test_a_whole_number_is_one_however_it_is_written(written: str) -> None:
    said = timers.decode(f'{{"total_time_ms": {written}, "reason": "7.0"}}'.encode(), timers.UpdateTime)
    assert (said.total_time_ms, type(said.total_time_ms), said.reason) == (600_000, int, "7.0")
    envelope = scg.decode_envelope(f'{{"type": "ping", "boot": "a", "seq": {written}, "payload": {{"sent": 1.5}}}}')
    assert envelope.number == ("a", 600_000)
    assert scg.decode_payload(envelope.payload, scg.Ping).sent == 1.5


@pytest.mark.parametrize("written", ["1.5", "true", '"600000"', "1e300", "[600000.0]", "-0.5"])
def test_what_is_no_whole_number_is_refused_by_name(written: str) -> None:
    with pytest.raises(ContractError, match=r"Expected.*`\$\.total_time_ms`"):
        timers.decode(f'{{"total_time_ms": {written}}}'.encode(), timers.UpdateTime)
    with pytest.raises(ContractError, match=r"seq"):
        scg.decode_envelope(f'{{"type": "ping", "boot": "a", "seq": {written}}}')


def test_what_cannot_be_written_again_is_refused_as_it_was() -> None:
    deep = "[" * 400 + "]" * 400
    for beside in (f'"more": {deep}', f'"more": 1{"0" * 400}', '"more": "\\ud800"'):
        with pytest.raises(ContractError):
            timers.decode(f'{{"total_time_ms": 1.5, {beside}}}'.encode(), timers.UpdateTime)
        with pytest.raises(ContractError):
            signs.decode_message(json.dumps({"type": 7}) + f"{{{beside}}}")


@pytest.mark.parametrize("value", [1.5, True, "30"])
def test_a_body_of_the_physiotherapy_api_refuses_the_same(value: object) -> None:
    patient = "5916e179-8ac9-468d-bf65-7fcf36737041"
    with pytest.raises(ValidationError, match="estimated_duration"):
        CreateSession.model_validate({"patient_id": patient, "exercise_type": "squat", "estimated_duration": value})
    made = CreateSession.model_validate({"patient_id": patient, "exercise_type": "squat", "estimated_duration": 30.0})
    assert (made.estimated_duration, type(made.estimated_duration)) == (30, int)
