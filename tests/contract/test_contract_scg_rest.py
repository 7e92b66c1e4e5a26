"""The OpenSCG document's REST side, as a client written from the document alone would use it."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID

import httpx
import pytest

from tests.contract.sockets import Socket, sine
from tests.programs import RelayProgram

ISO_MS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_create_gives_the_documented_keys(http: httpx.Client) -> None:
    answer = http.post("/api/v1/sessions")
    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == ["sessionId", "viewerUrl", "websocketUrl", "createdAt"]
    assert UUID(body["sessionId"]).version == 4


def test_created_addresses_are_absolute_and_the_requests_own(http: httpx.Client, relay: RelayProgram) -> None:
    body = http.post("/api/v1/sessions").json()
    assert body["websocketUrl"] == f"{relay.ws}/ws/{body['sessionId']}"
    assert body["viewerUrl"] == f"{relay.http}/view/{body['sessionId']}"
    assert ISO_MS.fullmatch(body["createdAt"])
    datetime.fromisoformat(body["createdAt"])


@pytest.mark.parametrize("body", [b"", b"junk", b"{", b"[1,2]", b"\xff\xfe"])
def test_create_ignores_any_body_and_never_repeats_an_id(http: httpx.Client, body: bytes) -> None:
    first = http.post("/api/v1/sessions", content=body)
    second = http.post("/api/v1/sessions", content=body, headers={"Content-Type": "application/json"})
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["sessionId"] != second.json()["sessionId"]


@pytest.mark.parametrize("session_id", ["c0ffee00-0000-4000-8000-00000000dead", "not-a-uuid", "sign-detection"])
def test_unknown_session_is_the_documented_404(http: httpx.Client, session_id: str) -> None:
    for answer in (http.get(f"/api/v1/sessions/{session_id}"), http.post(f"/api/v1/sessions/{session_id}/end")):
        assert answer.status_code == 404
        assert answer.json() == {"detail": "Session not found"}


def test_an_api_keeps_its_own_error_bodies(http: httpx.Client) -> None:
    assert http.get("/api/v1/sessions?limit=0").status_code == 422
    assert http.put("/api/v1/sessions").status_code == 405
    assert "detail" in http.get("/api/v1/nothing").json()


async def test_ended_session_is_the_full_session_object(http: httpx.Client, relay: RelayProgram) -> None:
    body = http.post("/api/v1/sessions", headers={"User-Agent": "kit/1", "Sec-CH-UA-Platform": '"Android"'}).json()
    sent = sine([1721574600123 + 10.05 * k for k in range(500)])
    async with Socket(body["websocketUrl"]) as patient:
        for start in range(0, len(sent), 20):
            await patient.batch(sent[start : start + 20])
        await patient.status("patient_connected")
        ended = http.post(f"/api/v1/sessions/{body['sessionId']}/end")
        assert ended.json() == {"message": "Session ended successfully. 500 samples saved."}
        await patient.status("session_ended")
    session = http.get(f"/api/v1/sessions/{body['sessionId']}").json()
    assert session["version"] == "0.1"
    assert session["sessionId"] == body["sessionId"]
    assert ISO_MS.fullmatch(session["startedAt"])
    assert ISO_MS.fullmatch(session["endedAt"])
    assert session["samplingRateHz"] == pytest.approx(1000 / 10.05, rel=0.01)
    assert session["device"] == {"userAgent": "kit/1", "platform": "Android"}
    assert session["unit"] == "m/s2"
    assert session["samples"] == sent
    assert http.get(f"/api/v1/sessions/{body['sessionId']}/data").json() == {"samples": sent}


async def test_live_session_answers_with_what_is_stored_so_far(http: httpx.Client) -> None:
    body = http.post("/api/v1/sessions").json()
    sent = sine([1.5, 11.5, 21.25])
    async with Socket(body["websocketUrl"]) as patient:
        await patient.batch(sent)
        await patient.status("patient_connected")
        session = http.get(f"/api/v1/sessions/{body['sessionId']}").json()
        assert "endedAt" not in session
        assert session["samples"] == sent
        tuples = http.get(f"/api/v1/sessions/{body['sessionId']}?format=0.2").json()
        assert tuples["samples"] == [[s["t"], s["ax"], s["ay"], s["az"]] for s in sent]


def test_the_same_api_stands_under_its_prefix(http: httpx.Client, relay: RelayProgram) -> None:
    body = http.post("/scg/api/v1/sessions").json()
    assert body["websocketUrl"] == f"{relay.ws}/scg/ws/{body['sessionId']}"
    assert http.get(f"/scg/api/v1/sessions/{body['sessionId']}").status_code == 200
    assert "/api/v1/sessions/{session_id}" in http.get("/scg/openapi.json").json()["paths"]


def test_list_names_the_newest_sessions(http: httpx.Client) -> None:
    created = http.post("/api/v1/sessions").json()
    listed = http.get("/api/v1/sessions?limit=1").json()["sessions"]
    assert [s["sessionId"] for s in listed] == [created["sessionId"]]
    assert listed[0]["live"] is False


def test_a_port_describes_everything_it_serves(http: httpx.Client, relay: RelayProgram) -> None:
    whole = set(http.get("/openapi.json").json()["paths"])
    assert whole == {
        path for api in ("scg", "signs", "video") for path in http.get(f"/{api}/openapi.json").json()["paths"]
    }
    care = f"http://127.0.0.1:{relay.care_port}"
    whole = set(httpx.get(f"{care}/openapi.json").json()["paths"])
    parts = [set(httpx.get(f"{care}/{api}/openapi.json").json()["paths"]) for api in ("physio", "timers")]
    assert whole == parts[0] | parts[1]
    assert parts[0]
    assert parts[1]
