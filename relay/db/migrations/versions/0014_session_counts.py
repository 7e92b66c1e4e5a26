"""The number of sessions per patient, status and exercise, kept by triggers so that no list has to count rows.

On PostgreSQL the triggers run once per statement and lock the counts in the order of their keys, so that concurrent
writers do not deadlock. SQLite has one writer at a time and counts row by row. Without an exercise, the key is nil.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

NIL = "00000000-0000-0000-0000-000000000000"
KEY = "patient_id, status, exercise_type_id"
OPERATIONS = ("insert", "update", "delete")

FUNCTION_POSTGRESQL = f"""CREATE FUNCTION count_exercise_sessions() RETURNS TRIGGER AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        UPDATE session_counts AS kept SET sessions = kept.sessions - gone.n FROM (
            SELECT patient_id, coalesce(status, '') AS status, coalesce(exercise_type_id, '{NIL}') AS exercise_type_id,
                   count(*) AS n FROM before GROUP BY 1, 2, 3) AS gone
         WHERE (kept.patient_id, kept.status, kept.exercise_type_id)
             = (gone.patient_id, gone.status, gone.exercise_type_id);
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO session_counts ({KEY}, sessions)
        SELECT patient_id, coalesce(status, ''), coalesce(exercise_type_id, '{NIL}'), count(*)
          FROM after WHERE patient_id IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        ON CONFLICT ({KEY}) DO UPDATE SET sessions = session_counts.sessions + excluded.sessions;
    ELSE
        INSERT INTO session_counts ({KEY}, sessions)
        SELECT patient_id, coalesce(status, ''), coalesce(exercise_type_id, '{NIL}'), sum(n)
          FROM (SELECT {KEY}, 1 AS n FROM after UNION ALL SELECT {KEY}, -1 FROM before) AS moved
         WHERE patient_id IS NOT NULL GROUP BY 1, 2, 3 HAVING sum(n) <> 0 ORDER BY 1, 2, 3
        ON CONFLICT ({KEY}) DO UPDATE SET sessions = session_counts.sessions + excluded.sessions;
    END IF;
    RETURN NULL;
END;
$$ LANGUAGE plpgsql"""  # noqa: S608  names of this file
SEEN_POSTGRESQL = {
    "insert": "NEW TABLE AS after",
    "update": "OLD TABLE AS before NEW TABLE AS after",
    "delete": "OLD TABLE AS before",
}

ONE_MORE = f"""INSERT INTO session_counts ({KEY}, sessions)
    SELECT NEW.patient_id, coalesce(NEW.status, ''), coalesce(NEW.exercise_type_id, '{{nil}}'), 1
     WHERE NEW.patient_id IS NOT NULL
    ON CONFLICT ({KEY}) DO UPDATE SET sessions = sessions + 1;"""
ONE_LESS = """UPDATE session_counts SET sessions = sessions - 1
     WHERE patient_id = OLD.patient_id AND status = coalesce(OLD.status, '')
       AND exercise_type_id = coalesce(OLD.exercise_type_id, '{nil}');"""
MOVED_SQLITE = {
    "insert": ("INSERT", ONE_MORE),
    "update": ("UPDATE OF patient_id, status, exercise_type_id", ONE_LESS + ONE_MORE),
    "delete": ("DELETE", ONE_LESS),
}


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    nil = NIL if postgresql else NIL.replace("-", "")
    op.create_table(
        "session_counts",
        sa.Column("patient_id", sa.Uuid, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("exercise_type_id", sa.Uuid, nullable=False),
        sa.Column("sessions", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("patient_id", "status", "exercise_type_id", name="pk_session_counts"),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_session_counts_patient", ondelete="CASCADE"),
    )
    op.create_index(
        "ix_exercise_sessions_patient_status",
        "exercise_sessions",
        ["patient_id", "status", "created_at", "id"],
    )
    if postgresql:
        op.execute(FUNCTION_POSTGRESQL)
    for operation in OPERATIONS:
        op.execute(_trigger(operation, nil, postgresql=postgresql))
    op.execute(
        f"INSERT INTO session_counts ({KEY}, sessions) "  # noqa: S608  names of this file
        f"SELECT patient_id, coalesce(status, ''), coalesce(exercise_type_id, '{nil}'), count(*) "
        "FROM exercise_sessions WHERE patient_id IS NOT NULL GROUP BY 1, 2, 3"
    )


def _trigger(operation: str, nil: str, *, postgresql: bool) -> str:
    name = f"count_exercise_sessions_{operation}"
    if postgresql:
        return (
            f"CREATE TRIGGER {name} AFTER {operation} ON exercise_sessions REFERENCING {SEEN_POSTGRESQL[operation]} "
            "FOR EACH STATEMENT EXECUTE FUNCTION count_exercise_sessions()"
        )
    when, counted = MOVED_SQLITE[operation]
    return f"CREATE TRIGGER {name} AFTER {when} ON exercise_sessions BEGIN {counted.replace('{nil}', nil)} END"


def downgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    for operation in OPERATIONS:
        op.execute(f"DROP TRIGGER count_exercise_sessions_{operation}{' ON exercise_sessions' if postgresql else ''}")
    if postgresql:
        op.execute("DROP FUNCTION count_exercise_sessions()")
    op.drop_index("ix_exercise_sessions_patient_status", "exercise_sessions")
    op.drop_table("session_counts")
