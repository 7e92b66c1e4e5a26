"""The SyncKairos document's REST side, as a client written from the document alone would use it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.contract.timers import P1, P2, Timers, chess, client, error, name, short, signed
from tests.programs import RelayProgram, token

ISO_MS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ACTS = ("start", "switch", "pause", "resume", "complete", "participants")
INVALID, TRANSITION = (400, "VALIDATION_ERROR"), (400, "INVALID_STATE_TRANSITION")
CONFLICT, MISSING = (409, "CONFLICT"), (404, "SESSION_NOT_FOUND")


def ms(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp() * 1000


@pytest.fixture(scope="module")
def timers(relay: RelayProgram) -> Iterator[Timers]:
    with client(relay) as found:
        yield found


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/sessions"),
        ("GET", "/v1/sessions"),
        ("GET", "/v1/time"),
        ("GET", "/v1/sessions/x"),
        ("DELETE", "/v1/sessions/x"),
        ("GET", "/v1/sessions/x/audit"),
        ("PATCH", "/v1/sessions/x/participants/y"),
        *[("POST", f"/v1/sessions/x/{what}") for what in ACTS],
    ],
)
def test_every_endpoint_wants_a_token(timers: Timers, method: str, path: str) -> None:
    bad = signed(timers.relay, "admin", hours=-1)
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Bearer {bad}"}):
        answer = httpx.request(method, f"{timers.http.base_url}{path}", headers=headers)
        assert error(answer) == (401, "UNAUTHORIZED")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_for_trying_it_is_printed_and_works(timers: Timers) -> None:
    headers = {"Authorization": f"Bearer {token(timers.relay.data, '--role', 'admin')}"}
    assert timers.http.get("/v1/time", headers=headers).status_code == 200


def test_the_documents_session_is_created_as_shown(timers: Timers) -> None:
    body = chess("550e8400-e29b-41d4-a716-446655440000")
    answer = timers.http.post("/v1/sessions", json=body)
    assert answer.status_code == 201
    made = answer.json()
    assert (made["session_id"], made["sync_mode"]) == (body["session_id"], "per_participant")
    assert (made["status"], made["version"]) == ("pending", 1)
    assert ISO_MS.fullmatch(made["created_at"])
    assert [(one["participant_id"], one["total_time_ms"], one["is_active"]) for one in made["participants"]] == [
        (P1, 600000, False),
        (P2, 600000, False),
    ]
    assert error(timers.http.post("/v1/sessions", json=body)) == CONFLICT


def people(count: int) -> list[dict[str, Any]]:
    return [{"participant_id": f"p{k}", "total_time_ms": 1000} for k in range(count)]


@pytest.mark.parametrize(
    "other",
    [
        {"participants": []},
        {"participants": people(1001)},
        {"participants": short(999)},
        {"participants": short(86_400_001)},
        {"participants": [*people(1), *people(1)]},
        {"participants": [{"participant_id": "", "total_time_ms": 1000}]},
        {"participants": [{"participant_id": "x" * 129, "total_time_ms": 1000}]},
        {"participants": [{"participant_id": "x"}]},
        {"sync_mode": "per_moon"},
        {"increment_ms": 60_001},
        {"increment_ms": -1},
        {"active_participant_id": "nobody"},
        {"metadata": {"note": "x" * 10_240}},
        {"session_id": ""},
        {"session_id": "x" * 129},
        {"session_id": 5},
        {"sync_mode": "per_cycle"},
        {"sync_mode": "per_cycle", "time_per_cycle_ms": 999},
        {"sync_mode": "per_group"},
        {"action_on_timeout": {"outcome": "timeout"}},
    ],
    ids=lambda other: "-".join(f"{key}={str(value)[:20]}" for key, value in other.items()),
)
def test_what_is_out_of_bounds_is_refused(timers: Timers, other: dict[str, Any]) -> None:
    body = chess(name(), **other)
    assert error(timers.http.post("/v1/sessions", json=body)) == INVALID
    if isinstance(body["session_id"], str) and 0 < len(body["session_id"]) <= 128:
        assert error(timers.http.get(f"/v1/sessions/{body['session_id']}")) == MISSING


@pytest.mark.parametrize(
    "other",
    [
        {"participants": people(1), "active_participant_id": "p0"},
        {"participants": people(1000), "active_participant_id": "p999"},
        {"participants": short(86_400_000)},
        {"increment_ms": 60_000},
        {"increment_ms": 0},
        {"metadata": {"note": "x" * (10_240 - len('{"note":""}'))}},
        {"session_id": "ü" * 128},
    ],
    ids=lambda other: "-".join(f"{key}={str(value)[:20]}" for key, value in other.items()),
)
def test_the_bounds_themselves_are_allowed(timers: Timers, other: dict[str, Any]) -> None:
    session = timers.started(**other)
    assert timers.get(session)["status"] == "running"


@pytest.mark.parametrize("junk", [b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b"x" * 2_000_000])
def test_junk_is_the_documented_400(timers: Timers, junk: bytes) -> None:
    session = timers.started()
    before = timers.get(session)["version"]
    for path in ("/v1/sessions", f"/v1/sessions/{session}/switch", f"/v1/sessions/{session}/participants"):
        assert error(timers.http.post(path, content=junk)) == INVALID
    assert timers.get(session)["version"] == before


def test_errors_keep_their_body_on_every_path_of_this_api(timers: Timers) -> None:
    assert error(timers.http.get("/v1/nothing")) == (404, "NOT_FOUND")
    assert error(timers.http.put("/v1/sessions")) == (405, "METHOD_NOT_ALLOWED")
    assert error(timers.http.get("/v1/sessions/x/switch")) == (405, "METHOD_NOT_ALLOWED")
    assert error(timers.http.get("/v1/sessions?limit=0")) == INVALID
    assert error(timers.http.get(f"{timers.relay.http}/timers/v1/sessions/nobody")) == MISSING
    for what in ACTS:
        assert error(timers.post("nobody", what, {"participant_id": "a", "total_time_ms": 1000})) == MISSING


def test_start_gives_the_turn_to_whom_was_asked_for(timers: Timers) -> None:
    session = timers.create(active_participant_id=P2)
    answer = timers.post(session, "start")
    body = answer.json()
    assert answer.status_code == 200
    assert (body["session_id"], body["status"], body["active_participant_id"]) == (session, "running", P2)
    assert ISO_MS.fullmatch(body["cycle_started_at"])
    again = timers.post(session, "start")
    assert error(again) == TRANSITION
    assert "running" in again.json()["error"]["message"]


async def test_the_chess_example_end_to_end(timers: Timers) -> None:
    session = timers.started()
    await asyncio.sleep(1.0)
    state = timers.get(session)
    passed = ms(state["server_time"]) - ms(state["cycle_started_at"])
    assert passed >= 1000
    times = {one["participant_id"]: one["total_time_ms"] for one in state["participants"]}
    assert times == {P1: 600000 - passed, P2: 600000}
    asked = time.time() * 1000
    answer = timers.post(session, "switch", {"current_participant_id": P1, "next_participant_id": P2})
    body = answer.json()
    assert answer.status_code == 200
    played = ms(body["cycle_started_at"]) - ms(state["cycle_started_at"])
    assert passed <= played
    assert [(one["participant_id"], one["total_time_ms"], one["is_active"]) for one in body["participants"]] == [
        (P1, 600000 - played + 3000, False),
        (P2, 600000, True),
    ]
    assert (body["active_participant_id"], body["status"]) == (P2, "running")
    assert asked - 2 <= ms(body["cycle_started_at"]) <= time.time() * 1000 + 2


def test_switch_without_a_body_goes_round(timers: Timers) -> None:
    session = timers.started()
    whose = [timers.post(session, "switch").json()["active_participant_id"] for _ in range(3)]
    assert whose == [P2, P1, P2]


def test_a_wrong_turn_changes_nothing(timers: Timers) -> None:
    session = timers.started()
    before = timers.get(session)["version"]
    assert error(timers.post(session, "switch", {"current_participant_id": P2})) == CONFLICT
    assert error(timers.post(session, "switch", {"current_participant_id": "nobody"})) == CONFLICT
    assert error(timers.post(session, "switch", {"next_participant_id": "nobody"})) == INVALID
    assert error(timers.post(session, "switch", {"next_participant_id": P1})) == INVALID
    assert error(timers.post(session, "switch", {"expected_version": 99})) == CONFLICT
    assert error(timers.post(session, "switch", headers={"If-Match": '"99"'})) == CONFLICT
    after = timers.get(session)
    assert (after["version"], after["active_participant_id"]) == (before, P1)
    assert timers.post(session, "switch", headers={"If-Match": f'"{before}"'}).status_code == 200


def test_switch_names_the_state_that_forbids_it(timers: Timers) -> None:
    session = timers.create()
    for state, follow in (("pending", "start"), (None, "pause"), ("paused", "complete"), ("completed", None)):
        if state is not None:
            refused = timers.post(session, "switch")
            assert error(refused) == TRANSITION
            assert state in refused.json()["error"]["message"]
        if follow is not None:
            assert timers.post(session, follow).status_code == 200


async def test_switch_after_the_time_ran_out_is_the_documented_answer(timers: Timers) -> None:
    session = timers.started(participants=short())
    await asyncio.sleep(1.1)
    answer = timers.post(session, "switch", {"current_participant_id": P1, "next_participant_id": P2})
    body = answer.json()
    assert (answer.status_code, body["status"], body["expired_participant_id"]) == (200, "expired", P1)
    assert [(one["participant_id"], one["total_time_ms"], one["has_expired"]) for one in body["participants"]] == [
        (P1, 0, True),
        (P2, 600000, False),
    ]
    assert body["action_applied"] == {"type": "end_session", "outcome": "timeout", "winner": P2}
    refused = timers.post(session, "switch", {"current_participant_id": P2})
    assert error(refused) == TRANSITION
    assert "expired" in refused.json()["error"]["message"]


async def test_pause_holds_and_resume_goes_on(timers: Timers) -> None:
    session = timers.started()
    await asyncio.sleep(0.5)
    paused = timers.post(session, "pause").json()
    assert paused["status"] == "paused"
    assert ISO_MS.fullmatch(paused["paused_at"])
    held = {one["participant_id"]: one["total_time_ms"] for one in paused["participants"]}
    assert 595_000 < held[P1] <= 599_500
    await asyncio.sleep(1.0)
    assert timers.times(session) == held
    resumed = timers.post(session, "resume").json()
    assert (resumed["status"], resumed["active_participant_id"]) == ("running", P1)
    state = timers.get(session)
    since = ms(state["server_time"]) - ms(resumed["cycle_started_at"])
    assert state["participants"][0]["total_time_ms"] == held[P1] - since
    assert error(timers.post(session, "resume")) == TRANSITION


def test_complete_then_delete(timers: Timers) -> None:
    session = timers.started()
    done = timers.post(session, "complete").json()
    assert (done["session_id"], done["status"]) == (session, "completed")
    assert ISO_MS.fullmatch(done["completed_at"])
    gone = timers.http.delete(f"/v1/sessions/{session}")
    assert (gone.status_code, gone.json()) == (200, {"success": True, "message": f"Session deleted for {session}"})
    assert error(timers.http.get(f"/v1/sessions/{session}")) == MISSING
    assert error(timers.http.delete(f"/v1/sessions/{session}")) == MISSING
    assert timers.http.post("/v1/sessions", json=chess(session)).status_code == 201


def test_server_time_is_one_instant_and_true(timers: Timers) -> None:
    before = time.time() * 1000
    body = timers.http.get("/v1/time").json()
    after = time.time() * 1000
    assert list(body) == ["server_time", "timestamp_ms"]
    assert isinstance(body["timestamp_ms"], int)
    assert abs(ms(body["server_time"]) - body["timestamp_ms"]) < 1
    assert before - 50 <= body["timestamp_ms"] <= after + 50


def test_a_participant_joins_the_rotation(timers: Timers) -> None:
    session = timers.started()
    version = timers.get(session)["version"]
    late = {"participant_id": "participant3-uuid", "participant_index": 2, "total_time_ms": 600000}
    answer = timers.post(session, "participants", late)
    assert (answer.status_code, answer.json()["version"]) == (200, version + 1)
    whose = [timers.post(session, "switch").json()["active_participant_id"] for _ in range(3)]
    assert whose == [P2, "participant3-uuid", P1]
    assert error(timers.post(session, "participants", late)) == CONFLICT


def test_a_time_set_by_hand_is_audited(timers: Timers) -> None:
    session = timers.started()
    path, wanted = f"/v1/sessions/{session}/participants/", {"total_time_ms": 300000, "reason": "Technical issue"}
    version = timers.get(session)["version"]
    answer = timers.http.patch(path + P2, json=wanted)
    assert (answer.status_code, answer.json()["version"]) == (200, version + 1)
    assert timers.times(session)[P2] == 300000
    (kept,) = timers.http.get(f"/v1/sessions/{session}/audit").json()["adjustments"]
    assert (kept["participant_id"], kept["before_ms"], kept["after_ms"]) == (P2, 600000, 300000)
    assert (kept["reason"], kept["who"]) == ("Technical issue", "admin operator")
    assert error(timers.http.patch(path + "nobody", json=wanted)) == (404, "PARTICIPANT_NOT_FOUND")
    for time_ms in (999, 86_400_001):
        assert error(timers.http.patch(path + P2, json={"total_time_ms": time_ms})) == INVALID


def test_roles_reach_as_far_as_they_should(timers: Timers) -> None:
    session = timers.started()
    for role, may_switch, may_adjust in (("patient", 200, 403), ("kit", 200, 403), ("viewer", 403, 403)):
        headers = {"Authorization": f"Bearer {signed(timers.relay, role)}"}
        assert timers.http.get(f"/v1/sessions/{session}", headers=headers).status_code == 200
        assert timers.post(session, "switch", headers=headers).status_code == may_switch
        path = f"/v1/sessions/{session}/participants/{P1}"
        assert timers.http.patch(path, json={"total_time_ms": 5000}, headers=headers).status_code == may_adjust
    bound = signed(timers.relay, "patient", session="another")
    answer = timers.http.get(f"/v1/sessions/{session}", headers={"Authorization": f"Bearer {bound}"})
    assert error(answer) == MISSING


def test_eleven_switches_in_a_second_are_one_too_many(timers: Timers) -> None:
    session, other = timers.started(), timers.started()
    answers = [timers.post(session, "switch") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert error(answers[-1]) == (429, "RATE_LIMIT_EXCEEDED")
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert timers.post(other, "switch").status_code == 200


async def test_of_switches_at_once_one_wins(timers: Timers) -> None:
    session = timers.started()
    version = timers.get(session)["version"]
    headers = dict(timers.http.headers)
    async with httpx.AsyncClient(base_url=timers.http.base_url, headers=headers) as http:
        body = {"current_participant_id": P1}
        asked = [http.post(f"/v1/sessions/{session}/switch", json=body) for _ in range(20)]
        codes = sorted([answer.status_code for answer in await asyncio.gather(*asked)])
    assert (codes.count(200), codes.count(409), codes.count(429)) == (1, 9, 10)
    after = timers.get(session)
    assert (after["version"], after["active_participant_id"]) == (version + 1, P2)


def test_its_openapi_page_describes_every_endpoint(timers: Timers) -> None:
    document = timers.http.get(f"{timers.relay.http}/timers/openapi.json").json()
    operations = [(method, path) for path, found in document["paths"].items() for method in found]
    assert len(operations) == 13
    assert {"post", "/v1/sessions/{session_id}/switch"} in [set(operation) for operation in operations]
