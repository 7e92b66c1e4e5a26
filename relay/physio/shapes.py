"""Database rows turned into the document's JSON: session details, list entries, reviews, profiles. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from relay.physio.rules import Statistics

Row = dict[str, Any]
SEALED = ("medical_conditions", "medications", "emergency_contact")


def canonical(identity: str) -> str | None:
    """An id in its stored form; None for anything that is not a UUID."""
    try:
        return str(uuid.UUID(identity))
    except ValueError:
        return None


def moment(value: datetime | None) -> str | None:
    """ISO 8601 in UTC with a trailing Z; milliseconds only where they are not zero."""
    if value is None:
        return None
    text = value.astimezone(UTC).isoformat(timespec="milliseconds" if value.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def session_head(row: Row, video_url: str | None) -> Row:
    return {
        "id": row["id"],
        "patient_id": row["patient_id"],
        "patient_name": row["patient_name"],
        "exercise_type": row["exercise_type"],
        "start_time": moment(row["start_time"]),
        "end_time": moment(row["end_time"]),
        "duration_seconds": row["duration_seconds"],
        "status": row["status"],
        "video_url": video_url,
        "created_at": moment(row["created_at"]),
        "scheduled_datetime": moment(row["scheduled_datetime"]),
        "estimated_duration": row["estimated_duration"],
        "instructions": row["instructions"],
        "equipment_used": row["equipment_used"],
        "environment_notes": row["environment_notes"],
    }


def details(row: Row, review: Row | None, video_url: str | None) -> Row:
    """The document's session details."""
    return {
        "session": session_head(row, video_url),
        "pose_data": Statistics.of_row(row).pose_data,
        "review": review_body(review) if review else None,
    }


def list_line(row: Row, video_url: str | None) -> Row:
    statistics = Statistics.of_row(row)
    return session_head(row, video_url) | {
        "frame_count": statistics.frame_count,
        "average_quality": statistics.average_quality,
    }


def review_body(row: Row) -> Row:
    return {
        "review_id": row["id"],
        "session_id": row["session_id"],
        "physiotherapist_id": row["physiotherapist_id"],
        "physiotherapist_name": row["physiotherapist_name"],
        "notes": row["notes"],
        "overall_assessment": row["overall_assessment"],
        "form_feedback": row["form_feedback"] or [],
        "next_steps": row["recommendations"],
        "reviewed_at": moment(row["reviewed_at"]),
    }


def patient_line(row: Row) -> Row:
    return {
        "patient_id": row["id"],
        "name": row["name"],
        "email": row["email"],
        "date_of_birth": row["date_of_birth"].isoformat() if row["date_of_birth"] else None,
        "consent_given": bool(row["consent_given"]),
        "session_count": int(row["session_count"]),
        "review_pending": int(row["review_pending"]),
        "last_session_at": moment(row["last_session_at"]),
    }


def profile(row: Row, opened: Callable[[Any, str], Any]) -> Row:
    """A patient's profile; `opened` decrypts a column."""
    body = {key: row[key] for key in ("email", "first_name", "last_name", "phone", "consent_given")}
    return {
        "patient_id": row["id"],
        "user_id": row["user_id"],
        **body,
        **{column: opened(row[column], column) for column in SEALED},
        "date_of_birth": row["date_of_birth"].isoformat() if row["date_of_birth"] else None,
        "consent_date": moment(row["consent_date"]),
    }


def frame(row: Row) -> Row:
    """A frame as it was sent, with its number; `processing_metadata` only if the sender gave any."""
    how = row["processing_metadata"]
    return ({"processing_metadata": how} if how is not None else {}) | {
        "frame_number": row["frame_number"],
        "timestamp": row["timestamp_ms"],
        "landmarks": row["landmarks"],
        "angles": row["calculated_angles"],
        "quality_score": row["quality_score"],
        "form_issues": row["form_issues"],
    }
