"""The tables of physiotherapy, as stores use them. Migration 0003 creates them, with every constraint.

Moments are aware datetimes in UTC on both databases; ids are UUID strings.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator

from relay.db.models import metadata


class Moment(TypeDecorator[datetime]):
    """A point in time. SQLite stores no time zone; there it is stored and read as UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


Texts = postgresql.ARRAY(sa.Text).with_variant(sa.JSON(), "sqlite")
Json = postgresql.JSONB(none_as_null=True).with_variant(sa.JSON(none_as_null=True), "sqlite")
Address = postgresql.INET().with_variant(sa.String(45), "sqlite")
Uuid = sa.Uuid(as_uuid=False)


def _id() -> sa.Column[Any]:
    return sa.Column("id", Uuid, primary_key=True, default=lambda: str(uuid.uuid4()))


def _ref(name: str, target: str) -> sa.Column[Any]:
    return sa.Column(name, Uuid, sa.ForeignKey(target))


def _at(name: str) -> sa.Column[Any]:
    return sa.Column(name, Moment, default=lambda: datetime.now(UTC))


def _moment(name: str) -> sa.Column[Any]:
    return sa.Column(name, Moment)


def _table(name: str, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(name, metadata, *columns)


def _text(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text) for name in names]


users = _table(
    "users", _id(), *_text("email", "password_hash", "role", "first_name", "last_name", "phone"), _at("created_at")
)
patients = _table(
    "patients",
    _id(),
    _ref("user_id", "users.id"),
    sa.Column("date_of_birth", sa.Date),
    sa.Column("medical_conditions", Texts),
    sa.Column("medications", Texts),
    sa.Column("emergency_contact", Json),
    sa.Column("consent_given", sa.Boolean, default=False),
    _moment("consent_date"),
    _at("created_at"),
)
physiotherapists = _table(
    "physiotherapists",
    _id(),
    _ref("user_id", "users.id"),
    *_text("license_number", "specialization", "clinic_affiliation"),
    sa.Column("years_experience", sa.Integer),
    _at("created_at"),
)
assignments = _table(
    "patient_physio_assignments",
    _id(),
    _ref("patient_id", "patients.id"),
    _ref("physiotherapist_id", "physiotherapists.id"),
    _at("assigned_at"),
    sa.Column("status", sa.Text, default="active"),
)
exercise_types = _table(
    "exercise_types",
    _id(),
    *_text("name", "category", "description", "difficulty_level"),
    sa.Column("target_muscles", Texts),
    _at("created_at"),
)
exercise_sessions = _table(
    "exercise_sessions",
    _id(),
    _ref("patient_id", "patients.id"),
    _ref("physiotherapist_id", "physiotherapists.id"),
    _ref("exercise_type_id", "exercise_types.id"),
    _moment("scheduled_datetime"),
    _moment("start_time"),
    _moment("end_time"),
    sa.Column("duration_seconds", sa.Integer),
    *_text("video_storage_key", "instructions", "environment_notes"),
    sa.Column("status", sa.Text, default="pending"),
    sa.Column("equipment_used", Texts),
    _at("created_at"),
)
pose_frames = _table(
    "pose_frames",
    _id(),
    _ref("session_id", "exercise_sessions.id"),
    sa.Column("frame_number", sa.Integer),
    sa.Column("timestamp_ms", sa.BigInteger),
    sa.Column("landmarks", Json),
    sa.Column("calculated_angles", Json),
    sa.Column("quality_score", sa.Numeric(3, 2, asdecimal=False)),
    sa.Column("form_issues", Json),
    sa.Column("processing_metadata", Json),
    _at("created_at"),
)
session_reviews = _table(
    "session_reviews",
    _id(),
    _ref("session_id", "exercise_sessions.id"),
    _ref("physiotherapist_id", "physiotherapists.id"),
    *_text("notes", "overall_assessment"),
    sa.Column("form_feedback", Json),
    sa.Column("recommendations", Json),
    _moment("next_session_scheduled"),
    _at("reviewed_at"),
    _at("created_at"),
)
access_logs = _table(
    "access_logs",
    _id(),
    _ref("user_id", "users.id"),
    *_text("resource_type", "action", "user_agent"),
    sa.Column("resource_id", Uuid),
    sa.Column("ip_address", Address),
    _at("timestamp"),
)
user_access = _table("user_access", sa.Column("user_id", Uuid, primary_key=True), _moment("disabled_at"))
sign_ins = _table(
    "sign_ins", _id(), _ref("user_id", "users.id"), _at("created_at"), _moment("ended_at"), *_text("ended_why")
)
refresh_tokens = _table(
    "refresh_tokens",
    sa.Column("digest", sa.String(64), primary_key=True),
    _ref("sign_in_id", "sign_ins.id"),
    _moment("expires_at"),
    _moment("used_at"),
)
session_statistics = _table(
    "session_statistics",
    sa.Column("session_id", Uuid, primary_key=True),
    sa.Column("estimated_duration", sa.Integer),
    sa.Column("times_given", sa.Boolean, default=False),
    sa.Column("frame_count", sa.Integer, default=0),
    sa.Column("first_ms", sa.BigInteger),
    sa.Column("last_ms", sa.BigInteger),
    sa.Column("quality_sum", sa.Float(53), default=0.0),
    sa.Column("quality_count", sa.Integer, default=0),
    sa.Column("angles", Json),
    sa.Column("summary", Json),
    sa.Column("motion", Json),
    sa.Column("motion_frames", sa.Integer),
)
uploads = _table(
    "uploads",
    _id(),
    _ref("session_id", "exercise_sessions.id"),
    _moment("expires_at"),
    _moment("used_at"),
    *_text("content_type"),
    sa.Column("size_bytes", sa.BigInteger),
    _at("created_at"),
)
session_kits = _table(
    "session_kits",
    sa.Column("session_id", Uuid, primary_key=True),
    sa.Column("kit", sa.String(64)),
    _moment("assigned_at"),
    _moment("ended_at"),
)
session_counts = _table(
    "session_counts",
    sa.Column("patient_id", Uuid, primary_key=True),
    sa.Column("status", sa.String(20), primary_key=True),
    sa.Column("exercise_type_id", Uuid, primary_key=True),
    sa.Column("sessions", sa.BigInteger),
)
"""Maintained by triggers on `exercise_sessions` (migration 0014); stores only read it."""
