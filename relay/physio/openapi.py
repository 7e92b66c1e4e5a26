"""The OpenAPI document of the physiotherapy API: FastAPI's own, completed with the actual response bodies and errors.
Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from core.contracts.physio import ASSESSMENTS, STATUSES, PoseData

Json = dict[str, Any]
_ERRORS = {
    "400": "VALIDATION_ERROR: the body or the query breaks the contract; `details` names each field",
    "401": "UNAUTHORIZED: no token, or one that does not hold",
    "403": "FORBIDDEN: a good token of another role, or a link that does not hold; CONSENT_REQUIRED",
    "404": "NOT_FOUND: nothing of that id that the asker may see",
    "409": "CONFLICT: contradicts what is there",
    "413": "PAYLOAD_TOO_LARGE",
    "429": "RATE_LIMIT_EXCEEDED: see Retry-After",
    "503": "STORE_UNAVAILABLE or RELAY_FULL: see Retry-After",
}
_MOMENT: Json = {"type": ["string", "null"], "format": "date-time"}
_META: Json = {
    "type": "object",
    "required": ["timestamp", "request_id"],
    "properties": {"timestamp": {"type": "string", "format": "date-time"}, "request_id": {"type": "string"}},
}
_ERROR: Json = {
    "type": "object",
    "required": ["success", "error", "meta"],
    "properties": {
        "success": {"const": False},
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "details": {
                    "type": "array",
                    "items": {"type": "object", "required": ["field", "message"]},
                },
            },
        },
        "meta": _META,
    },
}
_ENVELOPE: Json = {
    "type": "object",
    "required": ["success", "data", "meta"],
    "properties": {"success": {"const": True}, "data": {}, "meta": _META},
}
_PAGE: Json = {
    "type": "object",
    "required": ["page", "per_page", "total_items", "total_pages"],
    "properties": {
        name: {"type": "integer", "minimum": 0} for name in ("page", "per_page", "total_items", "total_pages")
    },
}
_LIST: Json = {
    **_ENVELOPE,
    "required": [*_ENVELOPE["required"], "pagination"],
    "properties": {**_ENVELOPE["properties"], "data": {"type": "array"}, "pagination": _PAGE},
}
_SESSION: Json = {
    "type": "object",
    "required": ["id", "patient_id", "patient_name", "exercise_type", "status", "video_url", "created_at"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "status": {"enum": list(STATUSES)},
        "start_time": _MOMENT,
        "end_time": _MOMENT,
        "duration_seconds": {"type": ["integer", "null"]},
        "video_url": {"type": ["string", "null"]},
    },
}
_BARE: dict[str, Json] = {
    "/api/sessions post": {
        "type": "object",
        "required": ["session_id", "status", "upload_urls", "expires_at"],
        "properties": {
            "session_id": {"type": "string", "format": "uuid"},
            "status": {"const": "created"},
            "upload_urls": {"type": "object", "required": ["video", "metadata"]},
            "expires_at": {"type": "string", "format": "date-time"},
        },
    },
    "/api/sessions/{session_id} get": {
        "type": "object",
        "required": ["session", "pose_data", "review"],
        "properties": {
            "session": _SESSION,
            "pose_data": {"type": "object", "required": ["frame_count", "sampling_rate", "angle_ranges"]},
            "review": {"type": ["object", "null"]},
        },
    },
    "/api/physio/reviews post": {
        "type": "object",
        "required": ["review_id", "session_id", "physiotherapist_name", "overall_assessment", "reviewed_at"],
        "properties": {"overall_assessment": {"enum": list(ASSESSMENTS)}},
    },
}
_LISTS = {"/api/sessions", "/api/patients/sessions", "/api/physio/sessions", "/api/physio/patients"}
_VIDEO = "/api/videos/{session}"
_UPLOAD = "/api/upload/{upload}"
_NO_TOKEN = {"/api/auth/login", "/api/auth/refresh", _VIDEO, _UPLOAD}
_BYTES: Json = {"video/*": {"schema": {"type": "string", "format": "binary"}}}
_ANY_BYTES: Json = {"*/*": {"schema": {"type": "string", "format": "binary"}}}


def described(document: Json) -> Json:
    """Complete, in place, the document that FastAPI generated from the routes."""
    models, components = msgspec.json.schema_components([PoseData], ref_template="#/components/schemas/{name}")
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= components | {"Error": _ERROR, "Envelope": _ENVELOPE, "List": _LIST}
    for leftover in ("HTTPValidationError", "ValidationError"):
        schemas.pop(leftover, None)
    scheme = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    document["components"]["securitySchemes"] = {"bearer": scheme}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            _describe(path, method, operation)
    document["paths"]["/api/sessions/{session_id}/data"]["post"]["requestBody"] = _body("application/json", models[0])
    return document


def _describe(path: str, method: str, operation: Json) -> None:
    answers = operation["responses"]
    answers.pop("422", None)
    if path == _VIDEO:
        part = {"description": "The bytes asked for", "content": _BYTES}
        answers |= {"200": {"description": "The video", "content": _BYTES}, "206": part}
        answers["416"] = {"description": "A range behind the end"}
    elif path == _UPLOAD:
        _describe_upload(method, operation)
    elif not path.endswith("/export"):
        status = next(code for code in answers if code.startswith("2"))
        answers[status]["content"] = {"application/json": {"schema": _answer(path, method)}}
    if path not in _NO_TOKEN:
        operation["security"] = [{"bearer": []}]
    for code, text in _ERRORS.items():
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        answers[code] = {"description": text} | ({} if method == "head" else {"content": content})


def _describe_upload(method: str, operation: Json) -> None:
    more = {"description": "More is to follow: `Upload-Offset` and `Upload-Complete` tell how far it is"}
    operation["responses"]["204"] = more
    if method == "head":
        operation["responses"].pop("200", None)
        return
    schema = {"$ref": "#/components/schemas/Envelope"}
    operation["responses"]["200"] = {"description": "Whole", "content": {"application/json": {"schema": schema}}}
    operation["requestBody"] = {"required": True, "content": _ANY_BYTES}


def _answer(path: str, method: str) -> Json:
    bare = _BARE.get(f"{path} {method}")
    if bare is not None:
        return {"anyOf": [bare, {"$ref": "#/components/schemas/Envelope"}]}
    listed = path in _LISTS and method == "get"
    return {"$ref": f"#/components/schemas/{'List' if listed else 'Envelope'}"}


def _body(kind: str, schema: Json) -> Json:
    return {"required": True, "content": {kind: {"schema": schema}}}
