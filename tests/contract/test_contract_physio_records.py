"""One patient's data given out whole, and erased whole, on either database; nobody else's is touched."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.accounts.passwords import Passwords
from relay.accounts.store import AccountStore
from relay.auth import Role
from relay.db.engine import database_url, open_engine
from tests.contract.care import PASSWORD, REVIEW, Care, data_of, error_of, frames
from tests.peers import REPO_ROOT

HASHED = Passwords().hash(PASSWORD)
TABLES = ("exercise_sessions", "pose_frames", "session_reviews", "session_statistics", "session_kits", "uploads")


async def _admit(care: Care, name: str) -> None:
    """A patient of smith's, made as the operator makes one."""
    engine = open_engine(database_url(care.url, care.folder))
    store, email = AccountStore(engine), f"{name}@example.org"
    person = {"first_name": name.title(), "last_name": "Leaver", "consent_at": datetime.now(UTC)}
    care.accounts[name] = await store.add(email, HASHED, Role.PATIENT, **person)
    await store.assign(email, "smith@example.org", True)
    await engine.dispose()


def _treat(care: Care, name: str) -> str:
    """A session with frames, a video and a review, and a profile; the session's id."""
    created = care.create(name)
    with care.as_(name) as client:
        profile = {"medical_conditions": ["torn meniscus"], "phone": "+1 555 0100", "date_of_birth": "1970-05-01"}
        data_of(client.put("/api/patients/profile", json=profile))
        data_of(client.post(created["upload_urls"]["metadata"], json={"frames": frames(700)}))
        data_of(client.put(created["upload_urls"]["video"], content=b"\0moving picture" * 5000))
    with care.as_("smith") as client:
        data_of(client.put(f"/api/sessions/{created['session_id']}/kit", json={"kit": f"kit-{name}"}))
        reviewed = client.post("/api/physio/reviews", json={"session_id": created["session_id"], **REVIEW})
        assert reviewed.status_code == 201
    return str(created["session_id"])


async def test_an_export_holds_all_that_is_kept(care: Care) -> None:
    await _admit(care, "nora")
    session = _treat(care, "nora")
    with care.as_("nora") as client:
        answer = client.get("/api/patients/export")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        folder = f"sessions/{session}"
        assert set(archive.namelist()) == {
            *("README.txt", "profile.json", "sessions.json", "access_log.json"),
            *(f"{folder}/frames.ndjson", f"{folder}/reviews.json", f"{folder}/video.mp4"),
        }
        profile = json.loads(archive.read("profile.json"))
        assert (profile["email"], profile["medical_conditions"]) == ("nora@example.org", ["torn meniscus"])
        [listed] = json.loads(archive.read("sessions.json"))
        assert (listed["exercise_type"], listed["frame_count"]) == ("squat", 700)
        lines = [json.loads(line) for line in archive.read(f"{folder}/frames.ndjson").splitlines()]
        assert [line["timestamp"] for line in lines] == [frame["timestamp"] for frame in frames(700)]
        assert lines[3]["angles"] == frames(700)[3]["angles"]
        [review] = json.loads(archive.read(f"{folder}/reviews.json"))
        assert (review["notes"], review["last_name"]) == (REVIEW["notes"], "Doe")
        assert archive.read(f"{folder}/video.mp4") == b"\0moving picture" * 5000
        seen = json.loads(archive.read("access_log.json"))
        assert {"review", "export"} <= {row["action"] for row in seen}
    with care.as_("admin") as client:
        same = client.get(f"/api/patients/{care.patient_id('nora')}/export")
        assert zipfile.ZipFile(io.BytesIO(same.content)).read("profile.json")
    assert not list((care.folder / "exports").iterdir())


async def test_an_erasure_leaves_nothing_but_the_trail(care: Care) -> None:
    await _admit(care, "gone")
    kept, erased = _treat(care, "john"), _treat(care, "gone")
    patient, user = care.patient_id("gone"), care.accounts["gone"].id
    with care.as_("admin") as client:
        for confirm in ("", "john@example.org"):
            error_of(client.delete(f"/api/patients/{patient}?confirm={confirm}"), 404)
        done = data_of(client.delete(f"/api/patients/{patient}?confirm=gone@example.org"))
        assert done == {"patient_id": patient, "sessions": 1, "videos": 1}
        error_of(client.delete(f"/api/patients/{patient}?confirm=gone@example.org"), 404)
        error_of(client.get(f"/api/sessions/{erased}"), 404)
        assert client.get(f"/api/sessions/{kept}").json()["pose_data"]["frame_count"] == 700
    with care.as_("gone") as client:
        error_of(client.get("/api/patients/profile"), 401)
    with care.nobody() as client:
        error_of(client.post("/api/auth/login", json={"email": "gone@example.org", "password": PASSWORD}), 401)
    column = {table: "id" if table == "exercise_sessions" else "session_id" for table in TABLES}
    for table in TABLES:
        assert care.count(f"SELECT count(*) FROM {table} WHERE {column[table]} = '{care.key(erased)}'") == 0
        assert care.count(f"SELECT count(*) FROM {table} WHERE {column[table]} = '{care.key(kept)}'") >= 1
    theirs = (("users", "id", user), ("patients", "id", patient), ("sign_ins", "user_id", user))
    for table, key, identity in (*theirs, ("session_counts", "patient_id", patient)):
        assert care.count(f"SELECT count(*) FROM {table} WHERE {key} = '{care.key(identity)}'") == 0
    assert not list((care.folder / "videos").glob(f"{erased}*"))
    assert list((care.folder / "videos").glob(f"{kept}*"))
    trail = f"SELECT count(*) FROM access_logs WHERE resource_id = '{care.key(patient)}' AND action = 'erase'"
    assert care.count(f"{trail} AND user_id = '{care.key(care.accounts['admin'].id)}'") == 1
    if care.kind == "sqlite":
        for name in ("relay.db", "relay.db-wal"):
            assert b"gone@example.org" not in (care.folder / name).read_bytes()


@pytest.mark.parametrize("who", ["smith", "john", "jane"])
def test_only_an_admin_erases_and_exports_others(care: Care, who: str) -> None:
    where = f"/api/patients/{care.patient_id('john')}"
    with care.as_(who) as client:
        error_of(client.get(f"{where}/export"), 403)
        error_of(client.delete(f"{where}?confirm=john@example.org"), 403)


async def test_the_operator_does_both_by_command(tmp_path: Path) -> None:
    care = Care(tmp_path / "relay", "sqlite", None)
    _treat(care, "john")
    words = [sys.executable, "-m", "homeside", "patients"]

    def command(*more: str | Path, typed: str = "") -> subprocess.CompletedProcess[str]:
        line = [*words, *map(str, more), "--data", str(care.folder)]
        return subprocess.run(line, cwd=REPO_ROOT, input=typed, capture_output=True, text=True, check=False)

    exported = command("export", "john@example.org", tmp_path / "john.zip")
    assert exported.returncode == 0, exported.stderr
    assert "profile.json" in zipfile.ZipFile(tmp_path / "john.zip").namelist()
    assert command("export", "john@example.org", tmp_path / "john.zip").returncode == 2
    assert command("export", "smith@example.org", tmp_path / "smith.zip").returncode == 2
    assert command("erase", "john@example.org", typed="n\n").returncode == 1
    assert care.count("SELECT count(*) FROM pose_frames") == 700
    gone = command("erase", "john@example.org", typed="y\n")
    assert gone.returncode == 0, gone.stderr
    assert care.count("SELECT count(*) FROM pose_frames") == 0
    assert not list((care.folder / "videos").iterdir())
    assert care.relay.stop() == 0
