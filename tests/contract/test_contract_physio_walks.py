"""Every route with everybody: who gets what, who is refused how, and that whoever saw something is in the audit trail.

The table below is compared with the API's own description, so that a new route has to say whom it is for.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import httpx
import pytest

from tests.contract.care import DATA, REVIEW, Care, data_of, error_of

PEOPLE = ("nobody", "john", "jane", "smith", "other", "admin")
"""john is the patient everything is about, smith treats him; jane and other have nothing to do with him."""
THEIRS = (401, 200, 404, 200, 404, 200)
PATIENTS = (401, 200, 200, 403, 403, 403)
STAFF = (401, 403, 403, 200, 200, 200)
LINK = (403,) * 6
"""A signed link asks nobody who they are, and a wrong one helps nobody."""


class Expected(NamedTuple):
    """What each of PEOPLE gets, and the body or the query that is sent."""

    statuses: tuple[int, ...]
    body: Any = None
    query: str = ""


ROUTES: dict[tuple[str, str], Expected] = {
    ("post", "/api/sessions"): Expected((401, 201, 404, 201, 404, 201), {"exercise_type": "squat"}),
    ("get", "/api/sessions"): Expected((401, 200, 200, 200, 200, 200)),
    ("get", "/api/sessions/{session_id}"): Expected(THEIRS),
    ("put", "/api/sessions/{session_id}"): Expected(THEIRS, {"environment_notes": "at home"}),
    ("delete", "/api/sessions/{session_id}"): Expected((401, 403, 404, 200, 404, 200)),
    ("post", "/api/sessions/{session_id}/data"): Expected(THEIRS, DATA),
    ("get", "/api/sessions/{session_id}/frames"): Expected(THEIRS),
    ("get", "/api/sessions/{session_id}/timeline"): Expected(THEIRS),
    ("get", "/api/sessions/{session_id}/kit"): Expected(THEIRS),
    ("put", "/api/sessions/{session_id}/kit"): Expected((THEIRS[0], 403, *THEIRS[2:]), {"kit": "bedside-1"}),
    ("delete", "/api/sessions/{session_id}/kit"): Expected(THEIRS),
    ("put", "/api/sessions/{session_id}/privacy"): Expected(THEIRS, {"level": "skeleton", "minutes": 5}),
    ("post", "/api/upload/generate-url"): Expected(THEIRS, {}),
    ("get", "/api/patients/profile"): Expected(PATIENTS),
    ("put", "/api/patients/profile"): Expected(PATIENTS, {"phone": "+44 20"}),
    ("get", "/api/patients/sessions"): Expected(PATIENTS),
    ("get", "/api/patients/export"): Expected(PATIENTS),
    ("get", "/api/patients/{patient_id}/export"): Expected((401, 403, 403, 403, 403, 200)),
    ("delete", "/api/patients/{patient_id}"): Expected((401, 403, 403, 403, 403, 404), query="?confirm=nobody"),
    ("get", "/api/physio/patients"): Expected(STAFF),
    ("get", "/api/physio/sessions"): Expected(STAFF),
    ("get", "/api/physio/analytics"): Expected((401, 403, 403, 200, 404, 200), query="?patient_id={patient}"),
    ("post", "/api/physio/reviews"): Expected((401, 403, 403, 201, 404, 403), REVIEW),
    ("put", "/api/upload/{upload}"): Expected(LINK),
    ("patch", "/api/upload/{upload}"): Expected(LINK),
    ("head", "/api/upload/{upload}"): Expected(LINK),
    ("get", "/api/videos/{session}"): Expected(LINK),
    ("head", "/api/videos/{session}"): Expected(LINK),
}
SIGNING = {("post", "/api/auth/login"), ("get", "/api/auth/refresh"), ("post", "/api/auth/logout")}
"""Signing in and out has tests of its own."""
UNSEEN = {("post", "/api/sessions/{session_id}/data"), ("post", "/api/upload/generate-url")}
"""They show nothing of a patient, and a stream of frames would fill the trail."""


def test_the_table_has_every_route_and_no_other(care: Care) -> None:
    with care.nobody() as client:
        paths = client.get("/physio/openapi.json").json()["paths"]
    assert {(method, path) for path, methods in paths.items() for method in methods} == set(ROUTES) | SIGNING


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_everybody_gets_what_is_theirs_and_is_recorded(care: Care, method: str, path: str) -> None:
    expected = ROUTES[method, path]
    session = care.create()["session_id"]
    if path.endswith("/privacy"):
        with care.as_("smith") as client:
            data_of(client.put(f"/api/sessions/{session}/kit", json={"kit": "bedside-1"}))
    before = _trail(care)
    for name, status in zip(PEOPLE, expected.statuses, strict=True):
        answer = _ask(care, name, method, path, expected, session)
        assert answer.status_code == status, f"{name}: {answer.status_code} {answer.text}"
        if status >= 400 and method != "head":
            error_of(answer, status)
        if (method, path) == ("delete", "/api/sessions/{session_id}") and status == 200:
            session = care.create()["session_id"]
            before["smith"] += 1
    after = _trail(care)
    for name, status in zip(PEOPLE, expected.statuses, strict=True):
        recorded = after[name] - before[name]
        assert recorded >= 1 if status < 300 and (method, path) not in UNSEEN else recorded == 0, name


def _ask(care: Care, name: str, method: str, path: str, expected: Expected, session: str) -> httpx.Response:
    patient = care.patient_id("john")
    names = {"session_id": session, "session": session, "upload": session, "patient_id": patient}
    where = path.format(**names) + expected.query.format(patient=patient)
    body = expected.body
    if isinstance(body, dict) and path in ("/api/sessions", "/api/upload/generate-url", "/api/physio/reviews"):
        body = {**body, "patient_id": patient, "session_id": session}
    headers = {"Upload-Offset": "0"}
    with care.nobody() if name == "nobody" else care.as_(name) as client:
        return client.request(method, where, json=body, headers=headers)


def _trail(care: Care) -> Counter[str]:
    """How many rows of the audit trail are whose."""
    names = {care.key(account.id): name for name, account in care.accounts.items()}
    rows = care.rows("SELECT user_id, count(*) FROM access_logs GROUP BY user_id")
    return Counter({names.get(user or "", "nobody"): int(count) for user, count in rows})


def test_who_plays_a_video_is_recorded_and_may_not_say_to_be_another(care: Care) -> None:
    created = care.create()
    with care.nobody() as client:
        data_of(client.put(created["upload_urls"]["video"], content=b"moving" * 100))
    with care.as_("smith") as client:
        url = client.get(f"/api/sessions/{created['session_id']}").json()["session"]["video_url"]
    smith, other = care.accounts["smith"].id, care.accounts["other"].id
    played = f"SELECT count(*) FROM access_logs WHERE action = 'play' AND user_id = '{care.key(smith)}'"
    before = care.count(played)
    with care.nobody() as client:
        assert client.get(url, headers={"Range": "bytes=0-9"}).status_code == 206
        error_of(client.get(url.replace(smith, other)), 403)
    assert care.count(played) == before + 1


def test_the_101st_request_is_refused_and_other_people_go_on(care: Care) -> None:
    """On either database, per user, with the documented limit; frames have a window of their own."""
    limited = Care(care.folder / "limited", care.kind, care.postgres, requests=100)
    session = limited.create()["session_id"]
    with limited.as_("john") as john, limited.as_("jane") as jane:
        seen = [john.get("/api/patients/profile").status_code for _ in range(100)]
        assert set(seen) == {200}
        refused = john.get("/api/patients/profile")
        assert error_of(refused, 429)["code"] == "RATE_LIMIT_EXCEEDED"
        assert 1 <= int(refused.headers["retry-after"]) <= 901
        assert jane.get("/api/patients/profile").status_code == 200
        assert john.post(f"/api/sessions/{session}/data", json=DATA).status_code == 200
    assert limited.relay.stop() == 0
