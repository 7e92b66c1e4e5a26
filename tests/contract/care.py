"""A relay with people in it, and a documented client of its physiotherapy API for each of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from relay.accounts.passwords import Passwords
from relay.accounts.store import Account, AccountStore
from relay.auth import Role
from relay.db.engine import database_url, migrate, open_engine
from tests.peers_postgres import Postgres
from tests.programs import RelayProgram

PASSWORD = "correct horse battery"
BEGAN = 1706630400000
PEOPLE = {
    "admin": Role.ADMIN,
    "smith": Role.PHYSIOTHERAPIST,
    "other": Role.PHYSIOTHERAPIST,
    "john": Role.PATIENT,
    "jane": Role.PATIENT,
    "shy": Role.PATIENT,
}
"""smith treats john and shy; nobody treats jane; shy has not agreed to being recorded."""
FRAME: dict[str, Any] = {
    "timestamp": BEGAN,
    "landmarks": [{"type": "LEFT_SHOULDER", "x": 0.45, "y": 0.32, "z": 0.1, "visibility": 0.98}],
    "angles": {"elbow_left": 145.2, "elbow_right": 178.1, "knee_left": 92.3, "knee_right": 89.7},
    "quality_score": 0.92,
    "form_issues": [
        {
            "type": "ANGLE_WARNING",
            "joint": "knee_left",
            "message": "Left knee angle below target range",
            "severity": "MEDIUM",
        }
    ],
}
DATA: dict[str, Any] = {
    "frames": [FRAME],
    "summary_statistics": {
        "total_frames": 450,
        "average_quality": 0.89,
        "peak_angles": {"knee_left_max": 125.4, "knee_right_max": 123.1},
    },
}
REVIEW: dict[str, Any] = {
    "notes": "Patient demonstrated good technique with minor adjustments needed...",
    "overall_assessment": "FAIR",
    "form_feedback": [
        {
            "timestamp": 1706630415000,
            "issue": "Excessive forward lean",
            "recommendation": "Engage core and maintain upright torso",
            "severity": "MEDIUM",
        }
    ],
    "next_steps": {
        "recommended_exercises": ["glute_bridge", "wall_sit"],
        "frequency": "3 times per week",
        "follow_up_date": "2026-02-06T10:00:00Z",
    },
}


def frames(count: int, step_ms: int = 66, begin: int = BEGAN) -> list[dict[str, Any]]:
    """Two knees that bend and straighten, differently."""
    return [
        FRAME
        | {
            "timestamp": begin + step_ms * k,
            "angles": {"knee_left": 100 + (k * 7) % 60, "knee_right": 170.5 - (k * 3) % 70},
            "quality_score": round((k % 10) / 10, 2),
        }
        for k in range(count)
    ]


class Care:
    """The program and its people. `database` asks the database behind its back."""

    def __init__(
        self,
        folder: Path,
        kind: str,
        postgres: Postgres | None,
        env: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self.kind = kind
        self.postgres = postgres
        self.folder = folder
        self.url = postgres.database() if postgres else ""
        with ThreadPoolExecutor(1) as beside:  # whoever drives a browser has a loop running in this thread
            self.accounts: dict[str, Account] = beside.submit(asyncio.run, self._people()).result()
        given = {"requests": 1_000_000, **settings}
        self.environment = {f"HOMESIDE_RELAY_PHYSIO__{key.upper()}": str(value) for key, value in given.items()}
        self.environment |= {"HOMESIDE_RELAY_DATABASE_URL": self.url, **(env or {})}
        self.relay = RelayProgram(folder, env=self.environment)
        self._tokens: dict[str, dict[str, Any]] = {}

    async def _people(self) -> dict[str, Account]:
        self.folder.mkdir(parents=True, exist_ok=True)
        engine = open_engine(database_url(self.url, self.folder))
        await migrate(engine)
        store, hashed = AccountStore(engine), Passwords().hash(PASSWORD)
        made: dict[str, Account] = {}
        for name, role in PEOPLE.items():
            agreed = datetime.now(UTC) if name in ("john", "jane") else None
            person = {"first_name": name.title(), "last_name": "Doe", "consent_at": agreed}
            made[name] = await store.add(f"{name}@example.org", hashed, role, **person)
        for patient in ("john", "shy"):
            await store.assign(f"{patient}@example.org", "smith@example.org", True)
        await engine.dispose()
        return made

    def patient_id(self, name: str) -> str:
        found = self.accounts[name].patient_id
        assert found is not None
        return found

    def nobody(self) -> httpx.Client:
        """Plain HTTP: no certificates to load for each client."""
        return httpx.Client(base_url=self.relay.care, timeout=30, verify=False)

    def sign_in(self, name: str) -> dict[str, Any]:
        with self.nobody() as client:
            answer = client.post("/api/auth/login", json={"email": f"{name}@example.org", "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["data"])

    def as_(self, name: str) -> httpx.Client:
        """A client that is signed in, once for all tests."""
        if name not in self._tokens:
            self._tokens[name] = self.sign_in(name)
        return self.with_token(self._tokens[name]["access_token"])

    def with_token(self, token: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.relay.care, headers=headers, timeout=30, verify=False)

    def create(self, patient: str = "john", by: str = "smith", **fields: Any) -> dict[str, Any]:
        """A session, as the document creates one."""
        body = {
            "patient_id": self.patient_id(patient),
            "exercise_type": "squat",
            "scheduled_datetime": "2026-01-30T10:00:00Z",
            "estimated_duration": 60,
            "instructions": "Perform 10 squats with proper form",
        }
        with self.as_(by) as client:
            answer = client.post("/api/sessions", json=body | fields)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What the database itself holds; for PostgreSQL as text."""
        if self.postgres is None:
            import sqlite3

            with sqlite3.connect(self.folder / "relay.db") as database:
                found = database.execute(statement).fetchall()
            database.close()
            return found
        lines = self.postgres.sql(statement, self.url.rsplit("/", 1)[1]).splitlines()
        return [tuple(line.split("|")) for line in lines]

    def count(self, statement: str) -> int:
        return int(self.rows(statement)[0][0])

    def key(self, identity: str) -> str:
        """An id as this database writes it."""
        return identity if self.postgres else identity.replace("-", "")


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The error of the document's error body, which has nothing else in it."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"success", "error", "meta"}
    assert body["success"] is False
    assert set(body["meta"]) == {"timestamp", "request_id"}
    assert body["meta"]["request_id"] == answer.headers["x-request-id"]
    assert datetime.fromisoformat(body["meta"]["timestamp"]).tzinfo is not None
    error: dict[str, Any] = body["error"]
    assert error["code"]
    assert error["message"]
    return error


def data_of(answer: httpx.Response, status: int = 200) -> Any:
    """What the document's success body carries."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["success"] is True
    assert set(body) <= {"success", "data", "meta", "pagination"}
    return body["data"]


def without(body: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in json.loads(json.dumps(body)).items() if name != key}
