"""Physiotherapy: the tables of the documented schema, with its names, and the relay's own tables beside them.

One text serves both databases: on PostgreSQL it is run as it stands, so that constraints get the names PostgreSQL
gives them; on SQLite the types it lacks are replaced by those of `ON_SQLITE`, and ids come from the relay.
"""

from __future__ import annotations

import re
import uuid

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = "id UUID PRIMARY KEY DEFAULT uuid_generate_v4()"
AT = "TIMESTAMP WITH TIME ZONE"
MADE = f"created_at {AT} DEFAULT NOW()"
KEPT = f"{MADE}, updated_at {AT} DEFAULT NOW()"

DOCUMENTED = (
    f"""CREATE TABLE users ({ID},
        email VARCHAR(255) UNIQUE NOT NULL, password_hash VARCHAR(255) NOT NULL,
        role VARCHAR(20) NOT NULL CHECK (role IN ('patient', 'physiotherapist', 'admin')),
        first_name VARCHAR(100), last_name VARCHAR(100), phone VARCHAR(20), {KEPT})""",
    f"""CREATE TABLE patients ({ID},
        user_id UUID REFERENCES users(id) ON DELETE CASCADE, date_of_birth DATE,
        medical_conditions TEXT[], medications TEXT[], emergency_contact JSONB,
        consent_given BOOLEAN DEFAULT FALSE, consent_date {AT}, {KEPT})""",
    f"""CREATE TABLE physiotherapists ({ID},
        user_id UUID REFERENCES users(id) ON DELETE CASCADE, license_number VARCHAR(50) UNIQUE,
        specialization VARCHAR(100), years_experience INTEGER, clinic_affiliation VARCHAR(200), {KEPT})""",
    f"""CREATE TABLE patient_physio_assignments ({ID},
        patient_id UUID REFERENCES patients(id) ON DELETE CASCADE,
        physiotherapist_id UUID REFERENCES physiotherapists(id) ON DELETE CASCADE,
        assigned_at {AT} DEFAULT NOW(),
        status VARCHAR(20) DEFAULT 'active' CHECK (status IN ('active', 'inactive')),
        UNIQUE(patient_id, physiotherapist_id))""",
    f"""CREATE TABLE exercise_types ({ID},
        name VARCHAR(100) UNIQUE NOT NULL, category VARCHAR(50), description TEXT, target_muscles TEXT[],
        difficulty_level VARCHAR(20) CHECK (difficulty_level IN ('beginner', 'intermediate', 'advanced')), {MADE})""",
    f"""CREATE TABLE exercise_sessions ({ID},
        patient_id UUID REFERENCES patients(id) ON DELETE CASCADE,
        physiotherapist_id UUID REFERENCES physiotherapists(id),
        exercise_type_id UUID REFERENCES exercise_types(id),
        scheduled_datetime {AT}, start_time {AT}, end_time {AT}, duration_seconds INTEGER,
        video_storage_key VARCHAR(500),
        status VARCHAR(20) DEFAULT 'pending' CHECK (status IN
            ('pending', 'recording', 'processing', 'review_pending', 'reviewed', 'completed')),
        instructions TEXT, equipment_used TEXT[], environment_notes TEXT, {KEPT})""",
    f"""CREATE TABLE pose_frames ({ID},
        session_id UUID REFERENCES exercise_sessions(id) ON DELETE CASCADE,
        frame_number INTEGER, timestamp_ms BIGINT NOT NULL, landmarks JSONB NOT NULL, calculated_angles JSONB,
        quality_score DECIMAL(3,2) CHECK (quality_score >= 0 AND quality_score <= 1),
        form_issues JSONB, processing_metadata JSONB, {MADE})""",
    f"""CREATE TABLE session_reviews ({ID},
        session_id UUID REFERENCES exercise_sessions(id) ON DELETE CASCADE,
        physiotherapist_id UUID REFERENCES physiotherapists(id), notes TEXT,
        overall_assessment VARCHAR(20) CHECK (overall_assessment IN ('EXCELLENT', 'GOOD', 'FAIR', 'POOR')),
        form_feedback JSONB, recommendations JSONB, next_session_scheduled {AT},
        reviewed_at {AT} DEFAULT NOW(), {KEPT})""",
    f"""CREATE TABLE access_logs ({ID},
        user_id UUID REFERENCES users(id), resource_type VARCHAR(50), resource_id UUID, action VARCHAR(20),
        ip_address INET, user_agent TEXT, timestamp {AT} DEFAULT NOW())""",
    "CREATE INDEX idx_users_email ON users(email)",
    "CREATE INDEX idx_patients_user_id ON patients(user_id)",
    "CREATE INDEX idx_exercise_sessions_patient_time ON exercise_sessions(patient_id, start_time DESC)",
    "CREATE INDEX idx_exercise_sessions_status ON exercise_sessions(status)",
    "CREATE INDEX idx_pose_frames_session_timestamp ON pose_frames(session_id, timestamp_ms)",
    "CREATE INDEX idx_session_reviews_session ON session_reviews(session_id)",
    "CREATE INDEX idx_access_logs_user_timestamp ON access_logs(user_id, timestamp DESC)",
)
OUR_OWN = (
    f"""CREATE TABLE user_access (user_id UUID PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE, disabled_at {AT})""",
    f"""CREATE TABLE sign_ins ({ID},
        user_id UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE, {MADE}, ended_at {AT}, ended_why VARCHAR(20))""",
    f"""CREATE TABLE refresh_tokens (digest VARCHAR(64) PRIMARY KEY,
        sign_in_id UUID NOT NULL REFERENCES sign_ins(id) ON DELETE CASCADE,
        expires_at {AT} NOT NULL, used_at {AT})""",
    """CREATE TABLE session_statistics (
        session_id UUID PRIMARY KEY REFERENCES exercise_sessions(id) ON DELETE CASCADE,
        estimated_duration INTEGER, times_given BOOLEAN NOT NULL DEFAULT FALSE, frame_count INTEGER NOT NULL DEFAULT 0,
        first_ms BIGINT, last_ms BIGINT, quality_sum DOUBLE PRECISION NOT NULL DEFAULT 0,
        quality_count INTEGER NOT NULL DEFAULT 0, angles JSONB, summary JSONB, motion JSONB, motion_frames INTEGER)""",
    f"""CREATE TABLE uploads ({ID},
        session_id UUID NOT NULL REFERENCES exercise_sessions(id) ON DELETE CASCADE,
        expires_at {AT} NOT NULL, used_at {AT}, content_type VARCHAR(100), size_bytes BIGINT, {MADE})""",
    "CREATE INDEX ix_sign_ins_user_id ON sign_ins(user_id)",
    "CREATE INDEX ix_refresh_tokens_sign_in_id ON refresh_tokens(sign_in_id)",
    "CREATE INDEX ix_uploads_session_id ON uploads(session_id)",
    "CREATE INDEX ix_exercise_sessions_created_at ON exercise_sessions(created_at, id)",
    "CREATE INDEX ix_exercise_sessions_patient_created ON exercise_sessions(patient_id, created_at, id)",
)
TOUCHED = ("users", "patients", "exercise_sessions", "session_reviews")
TOUCH_POSTGRESQL = """CREATE OR REPLACE FUNCTION update_updated_at_column() RETURNS TRIGGER AS $$
BEGIN
    NEW.updated_at = NOW();
    RETURN NEW;
END;
$$ language 'plpgsql'"""

ON_SQLITE = (
    (r"UUID PRIMARY KEY DEFAULT uuid_generate_v4\(\)", "CHAR(32) NOT NULL PRIMARY KEY"),
    (r"\bUUID\b", "CHAR(32)"),
    (r"TEXT\[\]|\bJSONB\b", "JSON"),
    (r"\bINET\b", "VARCHAR(45)"),
    (r"TIMESTAMP WITH TIME ZONE", "DATETIME"),
    (r"NOW\(\)", "CURRENT_TIMESTAMP"),
)
EXERCISES = {
    "squat": ("lower body", ("quadriceps", "gluteus maximus"), "beginner"),
    "squat_front": ("lower body", ("quadriceps", "core"), "intermediate"),
    "shoulder_raise": ("upper body", ("deltoid",), "beginner"),
    "glute_bridge": ("lower body", ("gluteus maximus", "hamstrings"), "beginner"),
    "wall_sit": ("lower body", ("quadriceps",), "beginner"),
}


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        op.execute('CREATE EXTENSION IF NOT EXISTS "uuid-ossp"')
        op.execute(TOUCH_POSTGRESQL)
    for statement in DOCUMENTED + OUR_OWN:
        op.execute(statement if postgresql else _for_sqlite(statement))
    for table in TOUCHED:
        op.execute(_trigger(table, postgresql=postgresql))
    for name, (category, muscles, level) in EXERCISES.items():
        op.execute(_exercise(name, category, muscles, level, postgresql=postgresql))


def _for_sqlite(statement: str) -> str:
    for pattern, replacement in ON_SQLITE:
        statement = re.sub(pattern, replacement, statement)
    return statement


def _trigger(table: str, *, postgresql: bool) -> str:
    name = f"update_{table}_updated_at"
    if postgresql:
        return (
            f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()"
        )
    return (
        f"CREATE TRIGGER {name} AFTER UPDATE ON {table} FOR EACH ROW BEGIN "  # noqa: S608 - names of this file
        f"UPDATE {table} SET updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now') WHERE id = NEW.id; END"
    )


def _exercise(name: str, category: str, muscles: tuple[str, ...], level: str, *, postgresql: bool) -> str:
    """Every name is defined in this file; no outside text gets into the statement."""
    quoted = ", ".join(f"'{muscle}'" if postgresql else f'"{muscle}"' for muscle in muscles)
    listed = f"ARRAY[{quoted}]" if postgresql else f"'[{quoted}]'"
    key = uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.exercise.homeside")
    return (
        "INSERT INTO exercise_types (id, name, category, target_muscles, difficulty_level) VALUES "  # noqa: S608
        f"('{key if postgresql else key.hex}', '{name}', '{category}', {listed}, '{level}')"
    )


def downgrade() -> None:
    for statement in reversed(DOCUMENTED + OUR_OWN):
        if found := re.match(r"CREATE TABLE (\w+)", statement):
            cascade = " CASCADE" if op.get_bind().dialect.name == "postgresql" else ""
            op.execute(f"DROP TABLE {found[1]}{cascade}")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION update_updated_at_column()")
