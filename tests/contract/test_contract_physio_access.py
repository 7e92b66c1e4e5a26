"""Who gets in, and who sees whose: signing in, roles, and nothing of others."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from tests.contract.care import DATA, PASSWORD, Care, data_of, error_of

UNKNOWN = str(uuid4())
SESSION_ROUTES = (
    ("GET", "/api/sessions/{id}"),
    ("PUT", "/api/sessions/{id}"),
    ("DELETE", "/api/sessions/{id}"),
    ("POST", "/api/sessions/{id}/data"),
    ("GET", "/api/sessions/{id}/frames"),
    ("GET", "/api/sessions/{id}/timeline"),
)
OPEN = {("post", "/api/auth/login"), ("get", "/api/auth/refresh"), ("put", "/api/upload/{upload}")}
OPEN |= {("patch", "/api/upload/{upload}"), ("head", "/api/upload/{upload}")}
OPEN |= {("get", "/api/videos/{session}"), ("head", "/api/videos/{session}")}


def test_a_good_login_gives_tokens_in_the_envelope(care: Care) -> None:
    with care.nobody() as client:
        answer = client.post("/api/auth/login", json={"email": "JOHN@example.org", "password": PASSWORD})
    data = data_of(answer)
    assert set(data) == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    assert data["expires_in"] == 24 * 3600
    assert data["user"]["role"] == "patient"
    assert data["user"]["patient_id"] == care.patient_id("john")
    assert "password" not in answer.text


@pytest.mark.parametrize("email", ["john@example.org", "nobody@example.org", "' OR 1=1 --"])
def test_a_bad_login_is_401_and_does_not_tell_who_has_an_account(care: Care, email: str) -> None:
    with care.nobody() as client:
        error = error_of(client.post("/api/auth/login", json={"email": email, "password": "wrong"}), 401)
    assert error == {"code": "UNAUTHORIZED", "message": "The e-mail address or the password is wrong."}


def test_a_refresh_token_is_good_once_and_reuse_ends_the_sign_in(care: Care) -> None:
    first = care.sign_in("jane")
    with care.nobody() as client:
        second = data_of(client.get("/api/auth/refresh", headers=_bearer(first["refresh_token"])))
        assert second["access_token"] != first["access_token"]
        assert data_of(client.get("/api/patients/profile", headers=_bearer(second["access_token"])))
        error_of(client.get("/api/auth/refresh", headers=_bearer(first["refresh_token"])), 401)
        for token in (first["access_token"], second["access_token"]):
            error_of(client.get("/api/patients/profile", headers=_bearer(token)), 401)
        error_of(client.get("/api/auth/refresh", headers=_bearer(second["refresh_token"])), 401)


def test_after_logout_both_tokens_are_refused(care: Care) -> None:
    signed = care.sign_in("jane")
    with care.with_token(signed["access_token"]) as client:
        assert data_of(client.get("/api/patients/profile"))
        data_of(client.post("/api/auth/logout"))
        error_of(client.get("/api/patients/profile"), 401)
    with care.nobody() as client:
        error_of(client.get("/api/auth/refresh", headers=_bearer(signed["refresh_token"])), 401)


def test_every_route_asks_for_a_token(care: Care) -> None:
    """Walks the OpenAPI document, so that a new route is asked too."""
    with care.nobody() as client:
        paths = client.get("/physio/openapi.json").json()["paths"]
        asked = 0
        for path, methods in paths.items():
            for method in methods:
                if (method, path) not in OPEN:
                    where = path.replace("{session_id}", UNKNOWN)
                    for headers in ({}, _bearer("junk"), {"Authorization": "Basic YTpi"}):
                        answer = client.request(method, where, headers=headers)
                        assert error_of(answer, 401)["code"] == "UNAUTHORIZED"
                        assert answer.headers["www-authenticate"] == "Bearer"
                    asked += 1
    assert asked >= 17


def test_a_token_of_the_heart_line_opens_nothing_here(care: Care) -> None:
    from relay.auth import Principal, Role, Tokens, load_secret

    token = Tokens(load_secret(care.folder / "secret")).issue(
        Principal("operator", Role.ADMIN), now_s=1_780_000_000, lifetime_s=10**9
    )
    with care.with_token(token) as client:
        error_of(client.get("/api/sessions"), 401)


@pytest.mark.parametrize(("method", "path"), SESSION_ROUTES)
@pytest.mark.parametrize("who", ["jane", "other"])
def test_anothers_session_is_not_found(care: Care, who: str, method: str, path: str) -> None:
    """As unknown as one that does not exist: same status, same words."""
    session = care.create()["session_id"]
    body = DATA if path.endswith("/data") else {}
    with care.as_(who) as client:
        for identity in (session, UNKNOWN, "not-a-uuid", "%2e%2e%5cetc", "' OR '1'='1"):
            answer = client.request(method, path.format(id=identity), json=body)
            assert error_of(answer, 404) == {"code": "NOT_FOUND", "message": "Session not found"}


def test_an_admin_finds_every_session(care: Care) -> None:
    session = care.create()["session_id"]
    with care.as_("admin") as client:
        assert client.get(f"/api/sessions/{session}").status_code == 200


@pytest.mark.parametrize("path", ["/api/physio/patients", "/api/physio/sessions", "/api/physio/analytics"])
def test_physiotherapists_routes_are_forbidden_to_patients(care: Care, path: str) -> None:
    with care.as_("john") as client:
        assert error_of(client.get(path), 403)["code"] == "FORBIDDEN"


@pytest.mark.parametrize("who", ["smith", "admin"])
def test_patients_routes_are_forbidden_to_staff(care: Care, who: str) -> None:
    with care.as_(who) as client:
        error_of(client.get("/api/patients/profile"), 403)
        error_of(client.get("/api/patients/sessions"), 403)


def test_nobody_creates_a_session_for_somebody_elses_patient(care: Care) -> None:
    body = {"patient_id": care.patient_id("jane"), "exercise_type": "squat"}
    for who in ("smith", "other", "john"):
        with care.as_(who) as client:
            error_of(client.post("/api/sessions", json=body), 404)


def test_assigned_patients_only(care: Care) -> None:
    with care.as_("smith") as client:
        listed = data_of(client.get("/api/physio/patients"))
    assert {line["patient_id"] for line in listed} == {care.patient_id("john"), care.patient_id("shy")}
    assert all(type(line[key]) is int for line in listed for key in ("session_count", "review_pending"))
    with care.as_("other") as client:
        assert data_of(client.get("/api/physio/patients")) == []
        error_of(client.get(f"/api/physio/analytics?patient_id={care.patient_id('john')}"), 404)


def test_a_patient_may_not_prescribe_or_delete(care: Care) -> None:
    session = care.create()["session_id"]
    with care.as_("john") as client:
        error_of(client.put(f"/api/sessions/{session}", json={"instructions": "none"}), 403)
        error_of(client.delete(f"/api/sessions/{session}"), 403)
        assert data_of(client.put(f"/api/sessions/{session}", json={"environment_notes": "at home"}))


def test_without_consent_nothing_is_recorded(care: Care) -> None:
    created = care.create("shy")
    session = created["session_id"]
    with care.as_("shy") as client:
        error = error_of(client.put(created["upload_urls"]["video"], content=b"a picture"), 403)
        assert error["code"] == "CONSENT_REQUIRED"
        error = error_of(client.post(f"/api/sessions/{session}/data", json=DATA), 403)
        assert error["code"] == "CONSENT_REQUIRED"
        error_of(client.post("/api/upload/generate-url", json={"session_id": session}), 403)
        assert care.count(f"SELECT count(*) FROM pose_frames WHERE session_id = '{care.key(session)}'") == 0


def test_profile_round_trips_and_is_sealed_at_rest(care: Care) -> None:
    profile = {
        "consent_given": True,
        "medical_conditions": ["torn meniscus, left", "asthma"],
        "medications": ["ibuprofen"],
        "emergency_contact": {"name": "Mary", "phone": "+1 555", "relationship": "wife", "floor": 3},
        "date_of_birth": "1970-05-01",
        "phone": "+44 20 7946",
    }
    with care.as_("john") as client:
        put = data_of(client.put("/api/patients/profile", json=profile))
        got = data_of(client.get("/api/patients/profile"))
        assert put == got
        assert {key: got[key] for key in profile} == profile
        assert got["consent_date"]
        again = data_of(client.put("/api/patients/profile", json=got))
        assert again["medical_conditions"] == profile["medical_conditions"]
    stored = str(care.rows("SELECT medical_conditions, medications, emergency_contact FROM patients"))
    assert "sealed:1:" in stored
    assert not any(word in stored for word in ("meniscus", "ibuprofen", "Mary"))


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_guessing_passwords_is_slow(tmp_path_factory: pytest.TempPathFactory) -> None:
    care = Care(tmp_path_factory.mktemp("guessing"), "sqlite", None, failed_sign_ins=3)
    with care.nobody() as client:

        def attempt(password: str, who: str = "john") -> httpx.Response:
            return client.post("/api/auth/login", json={"email": f"{who}@example.org", "password": password})

        assert [attempt("wrong").status_code for _ in range(4)] == [401, 401, 401, 429]
        assert attempt(PASSWORD).status_code == 429
        assert attempt(PASSWORD, "jane").status_code == 200
    assert care.relay.stop() == 0
