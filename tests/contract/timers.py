"""A documented client of the timers: the document's chess session, a token, and sockets with the token in the URL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import httpx

from relay.auth import Principal, Role, Tokens, load_secret
from tests.contract.sockets import Socket
from tests.programs import RelayProgram

_names = count(1)
P1, P2 = "participant1-uuid", "participant2-uuid"


def name() -> str:
    """An id nobody used in this run; no UUID, as the document's own participants."""
    return f"session-{next(_names)}"


def chess(session: str, **other: Any) -> dict[str, Any]:
    """The document's body of Create Session, with keys of its own."""
    body = {
        "session_id": session,
        "sync_mode": "per_participant",
        "participants": [
            {"participant_id": P1, "participant_index": 0, "total_time_ms": 600000},
            {"participant_id": P2, "participant_index": 1, "total_time_ms": 600000},
        ],
        "increment_ms": 3000,
        "active_participant_id": P1,
        "auto_advance": False,
        "action_on_timeout": {"type": "end_session", "outcome": "timeout"},
    }
    return {key: value for key, value in {**body, **other}.items() if value is not None}


def short(first_ms: int = 1000, second_ms: int = 600000) -> list[dict[str, Any]]:
    """Two participants of whom the first has little time."""
    return [
        {"participant_id": P1, "participant_index": 0, "total_time_ms": first_ms},
        {"participant_id": P2, "participant_index": 1, "total_time_ms": second_ms},
    ]


def signed(relay: RelayProgram, role: str, *, session: str | None = None, hours: float = 1.0) -> str:
    """A token as `homeside token` makes it, without a process."""
    tokens = Tokens(load_secret(relay.data / "secret"))
    who = Principal(subject="operator", role=Role(role), session=session)
    return tokens.issue(who, now_s=time.time(), lifetime_s=hours * 3600)


class Timers:
    """The API of one relay, as an admin's client speaks to it."""

    def __init__(self, relay: RelayProgram, http: httpx.Client, bearer: str) -> None:
        self.relay = relay
        self.http = http
        self.bearer = bearer

    def create(self, **other: Any) -> str:
        body = chess(name(), **other)
        answer = self.http.post("/v1/sessions", json=body)
        assert answer.status_code == 201, answer.text
        return str(body["session_id"])

    def started(self, **other: Any) -> str:
        session = self.create(**other)
        assert self.post(session, "start").status_code == 200
        return session

    def post(self, session: str, what: str, body: Any = None, **options: Any) -> httpx.Response:
        return self.http.post(f"/v1/sessions/{session}/{what}", json=body, **options)

    def get(self, session: str) -> dict[str, Any]:
        answer = self.http.get(f"/v1/sessions/{session}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def times(self, session: str) -> dict[str, int]:
        return {one["participant_id"]: one["total_time_ms"] for one in self.get(session)["participants"]}

    def socket(self, session: str, path: str = "/sessions/") -> Socket:
        return Socket(f"ws://127.0.0.1:{self.relay.care_port}{path}{session}?token={self.bearer}")


@contextmanager
def client(relay: RelayProgram) -> Iterator[Timers]:
    bearer = signed(relay, "admin")
    base, headers = f"http://127.0.0.1:{relay.care_port}", {"Authorization": f"Bearer {bearer}"}
    with httpx.Client(base_url=base, headers=headers) as http:
        yield Timers(relay, http, bearer)


def error(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of the documented error body."""
    body = answer.json()
    assert list(body) == ["error"]
    assert isinstance(body["error"]["message"], str)
    return answer.status_code, body["error"]["code"]
