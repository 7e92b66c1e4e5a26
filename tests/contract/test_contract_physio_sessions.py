"""Sessions, frames, videos, reviews and progress, as a client written from the document alone would use them."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.contract.care import BEGAN, DATA, FRAME, REVIEW, Care, data_of, error_of, frames, without

SESSION_KEYS = {
    *("id", "patient_id", "patient_name", "exercise_type", "start_time", "end_time", "duration_seconds", "status"),
    *("video_url", "created_at"),
}


def test_create_gives_the_documented_keys_bare(care: Care) -> None:
    body = care.create()
    assert list(body) == ["session_id", "status", "upload_urls", "expires_at"]
    assert body["status"] == "created"
    assert UUID(body["session_id"])
    assert set(body["upload_urls"]) == {"video", "metadata"}
    assert datetime.fromisoformat(body["expires_at"]) > datetime.now(UTC)
    assert body["upload_urls"]["metadata"] == f"{care.relay.care}/api/sessions/{body['session_id']}/data"
    assert care.rows(f"SELECT status FROM exercise_sessions WHERE id = '{care.key(body['session_id'])}'") == [
        ("pending",)
    ]


def test_envelope_on_everything_for_those_who_ask(care: Care) -> None:
    session = care.create()["session_id"]
    with care.as_("smith") as client:
        answer = client.get(f"/api/sessions/{session}", headers={"Accept": "application/json; profile=envelope"})
        assert set(data_of(answer)) == {"session", "pose_data", "review"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"exercise_type": None}, "exercise_type"),
        ({"exercise_type": "Robert'); DROP TABLE users;--"}, "exercise_type"),
        ({"exercise_type": "../../etc"}, "exercise_type"),
        ({"patient_id": "uuid-string"}, "patient_id"),
        ({"estimated_duration": -1}, "estimated_duration"),
        ({"scheduled_datetime": "tomorrow"}, "scheduled_datetime"),
        ({"scheduled_datetime": "0001-01-01T00:00:00+14:00"}, "scheduled_datetime"),
        ({"scheduled_datetime": "9999-12-31T23:59:59Z"}, "scheduled_datetime"),
        ({"instructions": "a\x00b"}, "instructions"),
    ],
)
def test_a_bad_body_names_its_field(care: Care, change: dict[str, Any], field: str) -> None:
    body = {"patient_id": care.patient_id("john"), "exercise_type": "squat"} | change
    body = {key: value for key, value in body.items() if value is not None}
    with care.as_("smith") as client:
        error = error_of(client.post("/api/sessions", json=body), 400)
    assert error["code"] == "VALIDATION_ERROR"
    assert [detail["field"] for detail in error["details"]] == [field]
    assert error["details"][0]["message"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'"x"'])
def test_what_is_no_object_is_a_400(care: Care, content: bytes) -> None:
    session = care.create()["session_id"]
    with care.as_("smith") as client:
        for path in ("/api/sessions", f"/api/sessions/{session}/data", "/api/physio/reviews"):
            headers = {"Content-Type": "application/json"}
            assert error_of(client.post(path, content=content, headers=headers), 400)["code"] == "VALIDATION_ERROR"


def test_a_new_exercise_comes_in_by_name_from_staff_only(care: Care) -> None:
    name = f"heel_slide_{uuid4().hex[:8]}"
    with care.as_("john") as client:
        error_of(client.post("/api/sessions", json={"patient_id": care.patient_id("john"), "exercise_type": name}), 400)
    session = care.create(exercise_type=name)["session_id"]
    with care.as_("john") as client:
        assert client.get(f"/api/sessions/{session}").json()["session"]["exercise_type"] == name


def test_documented_frames_are_stored_in_order(care: Care) -> None:
    created = care.create()
    with care.as_("john") as client:
        answer = client.post(created["upload_urls"]["metadata"], json=DATA)
        assert answer.is_success
        client.post(created["upload_urls"]["metadata"], json={"frames": frames(5, begin=BEGAN + 1000)})
        client.post(created["upload_urls"]["metadata"], json={"frames": frames(5, begin=BEGAN + 500)})
        stored = data_of(client.get(f"/api/sessions/{created['session_id']}/frames"))
    assert [frame["frame_number"] for frame in stored] == list(range(1, 12))
    assert [frame["timestamp"] for frame in stored] == sorted(frame["timestamp"] for frame in stored)
    assert stored[0] == FRAME | {"frame_number": 1}


def test_how_a_frame_came_about_is_kept_with_it(care: Care) -> None:
    created = care.create()
    how = {"picture": [360, 640], "interpolated": True}
    with care.as_("john") as client:
        sent = FRAME | {"processing_metadata": how | {"unknown": "passed over"}}
        assert client.post(created["upload_urls"]["metadata"], json={"frames": [sent]}).is_success
        stored = data_of(client.get(f"/api/sessions/{created['session_id']}/frames"))
    assert stored == [FRAME | {"frame_number": 1, "processing_metadata": how}]


def test_the_same_frames_twice_are_stored_once(care: Care) -> None:
    created = care.create()
    sent = frames(40)
    with care.as_("john") as client:
        first = data_of(client.post(created["upload_urls"]["metadata"], json={"frames": sent}))
        again = data_of(client.post(created["upload_urls"]["metadata"], json={"frames": [*sent[20:], *sent[20:]]}))
        before = client.get(f"/api/sessions/{created['session_id']}").json()
    assert (first["frames_stored"], first["duplicates"]) == (40, 0)
    assert (again["frames_stored"], again["duplicates"], again["frame_count"]) == (0, 40, 40)
    assert before["pose_data"]["frame_count"] == 40


def test_senders_at_once_store_each_frame_once(care: Care) -> None:
    created = care.create()
    bodies = [frames(30, begin=BEGAN + 660 * k) for k in range(8)] * 2

    def post(body: list[dict[str, Any]]) -> int:
        with care.as_("john") as client:
            return client.post(created["upload_urls"]["metadata"], json={"frames": body}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(post, bodies)) == {200}
    distinct = {frame["timestamp"] for body in bodies for frame in body}
    where = f"WHERE session_id = '{care.key(created['session_id'])}'"
    assert care.count(f"SELECT count(*) FROM pose_frames {where}") == len(distinct)
    assert care.count(f"SELECT frame_count FROM session_statistics {where}") == len(distinct)
    assert care.count(f"SELECT count(DISTINCT frame_number) FROM pose_frames {where}") == len(distinct)


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        ({"quality_score": 1.2}, "frames[1].quality_score"),
        ({"quality_score": -0.1}, "frames[1].quality_score"),
        ({"landmarks": [FRAME["landmarks"][0] | {"visibility": -1}]}, "frames[1].landmarks[0].visibility"),
        ({"landmarks": [FRAME["landmarks"][0] | {"type": "TAIL"}]}, "frames[1].landmarks[0].type"),
        ({"angles": {"knee_left": 181}}, "frames[1].angles[...]"),
        ({"timestamp": -1}, "frames[1].timestamp"),
        ({"form_issues": [{"type": "X", "message": "m", "severity": "LOW"}]}, "frames[1].form_issues[0].type"),
        ({"processing_metadata": {"picture": [0, 640]}}, "frames[1].processing_metadata.picture[0]"),
    ],
)
def test_a_frame_out_of_bounds_is_a_400_and_nothing_is_stored(care: Care, frame: dict[str, Any], field: str) -> None:
    created = care.create()
    with care.as_("john") as client:
        answer = client.post(created["upload_urls"]["metadata"], json={"frames": [FRAME, FRAME | frame]})
        error = error_of(answer, 400)
        assert [detail["field"] for detail in error["details"]] == [field]
        assert client.get(f"/api/sessions/{created['session_id']}").json()["pose_data"]["frame_count"] == 0


def test_nan_and_bodies_beyond_bounds_are_refused(care: Care) -> None:
    created = care.create()
    with care.as_("john") as client:
        url = created["upload_urls"]["metadata"]
        error_of(client.post(url, content=b'{"frames":[{"timestamp":1,"landmarks":[],"quality_score":NaN}]}'), 400)
        error_of(client.post(url, json={"frames": [without(FRAME, "form_issues")] * 5001}), 400)
        huge = error_of(client.post(url, content=b" " * (8 * 1024 * 1024 + 1)), 413)
        assert huge["code"] == "PAYLOAD_TOO_LARGE"
        error_of(client.post(f"/api/sessions/{uuid4()}/data", json=DATA), 404)


def test_a_video_is_put_once_and_plays_with_ranges(care: Care) -> None:
    created = care.create()
    video = bytes(range(256)) * 4096
    with care.nobody() as client:
        url = created["upload_urls"]["video"]
        assert client.put(url, content=video, headers={"Content-Type": "video/mp4"}).is_success
        assert error_of(client.put(url, content=b"again"), 409)
    with care.as_("smith") as client:
        video_url = client.get(f"/api/sessions/{created['session_id']}").json()["session"]["video_url"]
    with care.nobody() as client:
        whole = client.get(video_url)
        assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, video, "video/mp4")
        part = client.get(video_url, headers={"Range": "bytes=1000-1999"})
        assert (part.status_code, part.content) == (206, video[1000:2000])
        assert part.headers["content-range"] == f"bytes 1000-1999/{len(video)}"
        assert client.get(video_url, headers={"Range": f"bytes={len(video)}-"}).status_code == 416
        error_of(client.get(video_url.replace("signature=", "signature=0")), 403)


def test_generated_urls_take_one_upload_and_no_tampering(care: Care) -> None:
    session = care.create()["session_id"]
    with care.as_("smith") as client:
        made = data_of(client.post("/api/upload/generate-url", json={"session_id": session}))
        error_of(client.post("/api/upload/generate-url", json={"session_id": str(uuid4())}), 404)
    assert datetime.fromisoformat(made["expires_at"]) > datetime.now(UTC)
    url = made["upload_url"]
    with care.nobody() as client:
        flipped = url[:-1] + ("0" if url[-1] != "0" else "1")
        later = url.replace("expires=", "expires=9")
        elsewhere = url.replace(url.split("/upload/")[1][:36], str(uuid4()))
        for bad in (flipped, later, elsewhere, url.split("?")[0], url.split("&")[0]):
            assert error_of(client.put(bad, content=b"x"), 403)["code"] == "FORBIDDEN"
        assert client.put(url, content=b"first").status_code == 200
        error_of(client.put(url, content=b"second"), 409)


def test_lists_are_paginated(care: Care) -> None:
    for _ in range(23):
        care.create("shy")
    with care.as_("shy") as client:
        for path in ("/api/sessions", "/api/patients/sessions"):
            answer = client.get(f"{path}?page=2&per_page=20")
            total = answer.json()["pagination"]["total_items"]
            assert answer.json()["pagination"] == {
                "page": 2,
                "per_page": 20,
                "total_items": total,
                "total_pages": math.ceil(total / 20),
            }
            seen = [line["id"] for page in (1, 2) for line in data_of(client.get(f"{path}?page={page}&per_page=20"))]
            assert len(seen) == len(set(seen)) == min(total, 40)
            assert all(line["patient_id"] == care.patient_id("shy") for line in data_of(answer))
            for bad in ("page=0", "per_page=0", "per_page=101", "page=x", "page=1e9"):
                error_of(client.get(f"{path}?{bad}"), 400)


def test_details_equal_what_is_recomputed_from_the_frames(care: Care) -> None:
    created = care.create()
    sent = frames(300, step_ms=67)
    with care.as_("john") as client:
        for start in (200, 0, 100):
            client.post(created["upload_urls"]["metadata"], json={"frames": sent[start : start + 100]})
    with care.as_("smith") as client:
        body = client.get(f"/api/sessions/{created['session_id']}").json()
    assert set(body) == {"session", "pose_data", "review"}
    assert set(body["session"]) >= SESSION_KEYS
    assert body["review"] is None
    assert body["session"]["status"] == "review_pending"
    assert body["session"]["patient_name"] == "John Doe"
    assert body["session"]["start_time"] == "2024-01-30T16:00:00Z"
    assert body["session"]["duration_seconds"] == round(299 * 67 / 1000)
    assert set(body["pose_data"]) == {"frame_count", "sampling_rate", "angle_ranges"}
    assert body["pose_data"]["frame_count"] == 300
    assert body["pose_data"]["sampling_rate"] == pytest.approx(1000 / 67, abs=0.001)
    for joint in ("knee_left", "knee_right"):
        values = [frame["angles"][joint] for frame in sent]
        found = body["pose_data"]["angle_ranges"][joint]
        assert (found["min"], found["max"]) == (min(values), max(values))
        assert found["avg"] == pytest.approx(sum(values) / len(values), abs=1e-3)


def test_metadata_changes_and_a_deleted_session_is_gone(care: Care) -> None:
    created = care.create()
    session = created["session_id"]
    change = {"instructions": "Five, slowly", "equipment_used": ["chair"], "start_time": "2026-01-30T10:00:00Z"}
    with care.as_("smith") as client:
        client.post(created["upload_urls"]["metadata"], json=DATA)
        data_of(client.put(f"/api/sessions/{session}", json=change | {"end_time": "2026-01-30T10:01:00+00:00"}))
        shown = client.get(f"/api/sessions/{session}").json()["session"]
        assert {key: shown[key] for key in change} == change
        assert shown["duration_seconds"] == 60
        error_of(client.put(f"/api/sessions/{session}", json={"status": "lost"}), 400)
        error_of(client.put(f"/api/sessions/{session}", json={"end_time": "2020-01-01T00:00:00Z"}), 400)
        assert client.delete(f"/api/sessions/{session}").is_success
        error_of(client.get(f"/api/sessions/{session}"), 404)
        error_of(client.delete(f"/api/sessions/{session}"), 404)
    assert care.count(f"SELECT count(*) FROM pose_frames WHERE session_id = '{care.key(session)}'") == 0


def test_a_review_is_shown_and_its_session_reviewed(care: Care) -> None:
    created = care.create()
    session = created["session_id"]
    with care.as_("smith") as client:
        client.post(created["upload_urls"]["metadata"], json=DATA)
        assert session in [line["id"] for line in data_of(client.get("/api/physio/sessions?per_page=100"))]
        answer = client.post("/api/physio/reviews", json={"session_id": session, **REVIEW})
        assert answer.status_code == 201
        assert answer.json()["physiotherapist_name"] == "Smith Doe"
        assert session not in [line["id"] for line in data_of(client.get("/api/physio/sessions?per_page=100"))]
    with care.as_("john") as client:
        body = client.get(f"/api/sessions/{session}").json()
    assert body["session"]["status"] == "reviewed"
    review = body["review"]
    assert review["physiotherapist_name"] == "Smith Doe"
    assert review["physiotherapist_id"] == care.accounts["smith"].physiotherapist_id
    assert {key: review[key] for key in REVIEW} == REVIEW
    assert datetime.fromisoformat(review["reviewed_at"])


def test_reviews_that_are_not_valid_or_not_ones_own_are_refused(care: Care) -> None:
    session = care.create()["session_id"]
    body = {"session_id": session, **REVIEW}
    with care.as_("smith") as client:
        error = error_of(client.post("/api/physio/reviews", json=body | {"overall_assessment": "OK"}), 400)
        assert [detail["field"] for detail in error["details"]] == ["overall_assessment"]
        two = body | {"overall_assessment": "OK", "form_feedback": [{"timestamp": 1}]}
        error = error_of(client.post("/api/physio/reviews", json=two), 400)
        assert {detail["field"] for detail in error["details"]} == {"overall_assessment", "form_feedback[0].issue"}
    for who, status in (("other", 404), ("john", 403), ("admin", 403)):
        with care.as_(who) as client:
            error_of(client.post("/api/physio/reviews", json=body), status)
    with care.as_("smith") as client:
        assert client.get(f"/api/sessions/{session}").json()["review"] is None


def test_analytics_are_progress_by_patient_exercise_and_joint(care: Care) -> None:
    name = f"squat_{uuid4().hex[:6]}"
    for start, low in ((BEGAN, 110), (BEGAN + 86_400_000, 95)):
        created = care.create(exercise_type=name)
        body = [FRAME | {"timestamp": start + 100 * k, "angles": {"knee_left": low + k}} for k in range(50)]
        with care.as_("john") as client:
            data_of(client.post(created["upload_urls"]["metadata"], json={"frames": body}))
            assert data_of(client.get(f"/api/sessions/{created['session_id']}/timeline"))["summary"]["rules"] is False
    with care.as_("smith") as client:
        found = data_of(client.get(f"/api/physio/analytics?patient_id={care.patient_id('john')}&exercise_type={name}"))
    assert [patient["patient_name"] for patient in found] == ["John Doe"]
    exercise = found[0]["exercises"][0]
    assert exercise["exercise_type"] == name
    assert [session["repetitions"] for session in exercise["sessions"]] == [None, None]
    assert [line["min"] for line in exercise["joints"]["knee_left"]] == [110, 95]
    assert [line["range_of_motion"] for line in exercise["joints"]["knee_left"]] == [49, 49]


def test_adherence_is_what_was_done_of_what_was_planned(care: Care) -> None:
    """Two weeks of three appointments, the first kept twice, the second once; tomorrow's is not due yet."""
    name, monday = f"bridge_{uuid4().hex[:6]}", datetime(2026, 1, 5, 10, tzinfo=UTC)
    for day, kept in ((0, True), (2, True), (4, False), (7, False), (9, False), (11, True)):
        at = monday + timedelta(days=day)
        created = care.create(exercise_type=name, scheduled_datetime=at.isoformat())
        if kept:
            body = {"frames": [FRAME | {"timestamp": int(at.timestamp() * 1000) + 100 * k} for k in range(5)]}
            with care.as_("john") as client:
                data_of(client.post(created["upload_urls"]["metadata"], json=body))
    care.create(exercise_type=name, scheduled_datetime=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    with care.as_("smith") as client:
        found = data_of(client.get(f"/api/physio/analytics?patient_id={care.patient_id('john')}&exercise_type={name}"))
    weeks = [
        {"week": "2026-01-05", "planned": 3, "done": 2},
        {"week": "2026-01-12", "planned": 3, "done": 1},
    ]
    assert found[0]["adherence"] == {"planned": 6, "done": 3, "percent": 50, "weeks": weeks}


READS = (
    ("smith", "/api/sessions/{session}", "session"),
    ("smith", "/api/sessions/{session}/frames", "session"),
    ("smith", "/api/sessions/{session}/timeline", "session"),
    ("smith", "/api/sessions", "patient"),
    ("smith", "/api/physio/sessions", "patient"),
    ("smith", "/api/physio/patients", "patient"),
    ("smith", "/api/physio/analytics", "patient"),
    ("john", "/api/patients/profile", "patient"),
    ("john", "/api/patients/sessions", "patient"),
)


@pytest.mark.parametrize(("who", "path", "kind"), READS)
def test_every_read_leaves_a_row_in_the_audit_trail(care: Care, who: str, path: str, kind: str) -> None:
    created = care.create()
    with care.as_("john") as client:
        client.post(created["upload_urls"]["metadata"], json=DATA)
    account = care.accounts[who]
    about = created["session_id"] if kind == "session" else care.patient_id("john")
    question = (
        f"SELECT count(*) FROM access_logs WHERE user_id = '{care.key(account.id)}' "
        f"AND resource_id = '{care.key(about)}' AND resource_type = '{kind}'"
    )
    before = care.count(question)
    with care.as_(who) as client:
        assert client.get(path.format(session=created["session_id"]), headers={"User-Agent": "auditor/1"}).is_success
    assert care.count(question) == before + 1
    assert care.count(f"{question} AND user_agent = 'auditor/1' AND ip_address = '127.0.0.1'") >= 1
