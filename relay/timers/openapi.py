"""The OpenAPI document of the timers API, generated from the models that check its requests. Pure."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from core.contracts.timers import AddParticipant, CreateSession, Expectation, Switch, UpdateTime

Json = dict[str, Any]
_BODIES = (CreateSession, Expectation, Switch, AddParticipant, UpdateTime)
_ERROR: Json = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "details": {}},
        }
    },
}
_ERRORS = {
    "400": "VALIDATION_ERROR, or INVALID_STATE_TRANSITION which names the state",
    "401": "UNAUTHORIZED: no token, or one that does not hold",
    "403": "FORBIDDEN: a good token that does not reach this far",
    "404": "SESSION_NOT_FOUND or PARTICIPANT_NOT_FOUND",
    "409": "CONFLICT: another turn, version or id than was meant",
    "429": "RATE_LIMIT_EXCEEDED: see Retry-After",
    "503": "STORE_UNAVAILABLE or RELAY_FULL: try again",
}
_SEATS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["participant_id", "total_time_ms", "is_active"],
        "properties": {
            "participant_id": {"type": "string"},
            "participant_index": {"type": "integer"},
            "total_time_ms": {"type": "integer", "minimum": 0},
            "time_used_ms": {"type": "integer", "minimum": 0},
            "is_active": {"type": "boolean"},
            "has_expired": {"type": "boolean"},
            "group_id": {"type": "string"},
        },
    },
}
_TIME: Json = {"type": "string", "format": "date-time"}
_STATUS = {"enum": ["pending", "running", "paused", "expired", "completed"]}
_SESSION_KEYS: Json = {
    "session_id": {"type": "string"},
    "status": _STATUS,
    "version": {"type": "integer", "minimum": 1},
    "participants": _SEATS,
    "server_time": _TIME,
}


def _answer(*keys: str, **others: Json) -> Json:
    properties = {key: _SESSION_KEYS[key] for key in keys} | others
    return {"type": "object", "required": list(properties), "properties": properties}


_SESSION = _answer("session_id", "status", "version", "participants", "server_time")
_BEGAN = _answer("session_id", "status", "version", "server_time", cycle_started_at=_TIME)
_ID: Json = {"name": "session_id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_WHO: Json = {"name": "participant_id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_LIMIT: Json = {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 200}}
_LIST = {"type": "array", "items": {"type": "object"}}


@cache
def document() -> Json:
    """OpenAPI 3.1 of every endpoint; the two sockets are described in text."""
    _, models = msgspec.json.schema_components(_BODIES, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "SyncKairos", "version": "2.0", "description": _SOCKETS},
        "paths": _paths(),
        "components": {
            "schemas": {**models, "Error": _ERROR},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "security": [{"bearer": []}],
    }


_SOCKETS = (
    "WebSocket at /sessions/{session_id} and /v1/sessions/{session_id}, with ?token=. It sends SESSION_UPDATE, "
    "TIME_EXPIRED, TIME_WARNING, SESSION_DELETED, STATE_SYNC, SUBSCRIBED, PONG and ERROR; it takes PING {timestamp}, "
    "SUBSCRIBE_PARTICIPANT {participant_id} and RECONNECT {last_known_version}."
)


def _paths() -> Json:
    one = "/v1/sessions/{session_id}"
    acts: Json = {
        f"{one}/{name}": {"post": _operation(title, Expectation, schema)}
        for name, title, schema in (
            ("start", "Start Session", _BEGAN),
            ("pause", "Pause Session", _SESSION),
            ("resume", "Resume Session", _BEGAN),
            ("complete", "Complete Session", _SESSION),
        )
    }
    return {
        "/v1/sessions": {
            "post": _operation("Create Session", CreateSession, _SESSION, status="201", where=()),
            "get": _operation("List Sessions (staff)", None, _answer(sessions=_LIST), where=(_LIMIT,)),
        },
        one: {
            "get": _operation("Get Session State", None, _SESSION),
            "delete": _operation("Delete Session", None, _answer(success={"const": True}, message={"type": "string"})),
        },
        **acts,
        f"{one}/switch": {"post": _operation("Switch Cycle", Switch, _SESSION)},
        f"{one}/participants": {"post": _operation("Add Participant to Session", AddParticipant, _SESSION)},
        one + "/participants/{participant_id}": {
            "patch": _operation("Update Participant Time (staff)", UpdateTime, _SESSION, where=(_ID, _WHO))
        },
        f"{one}/audit": {"get": _operation("Adjustments by hand (staff)", None, _answer(adjustments=_LIST))},
        "/v1/time": {
            "get": _operation(
                "Get Server Time", None, _answer(server_time=_TIME, timestamp_ms={"type": "integer"}), where=()
            )
        },
    }


def _operation(
    summary: str, body: type | None, answer: Json, *, status: str = "200", where: tuple[Json, ...] = (_ID,)
) -> Json:
    errors: Json = {
        code: {"description": text, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
        for code, text in _ERRORS.items()
    }
    done: Json = {"description": summary, "content": {"application/json": {"schema": answer}}}
    operation: Json = {"summary": summary, "parameters": list(where), "responses": {status: done, **errors}}
    if body is not None:
        needed = body in (CreateSession, AddParticipant, UpdateTime)
        schema = {"$ref": f"#/components/schemas/{body.__name__}"}
        operation["requestBody"] = {"required": needed, "content": {"application/json": {"schema": schema}}}
    return operation
