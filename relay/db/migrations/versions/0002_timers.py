"""Timers: the state of each session, manual adjustments, and the anchor of their timescale."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "timer_sessions",
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_timer_sessions"),
    )
    op.create_index("ix_timer_sessions_status", "timer_sessions", ["status"])
    op.create_table(
        "timer_audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False),
        sa.Column("session_id", sa.String(128), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("who", sa.String(256), nullable=False),
        sa.Column("participant_id", sa.String(128), nullable=False),
        sa.Column("before_ms", sa.BigInteger, nullable=False),
        sa.Column("after_ms", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_timer_audit"),
    )
    op.create_index("ix_timer_audit_session_id", "timer_audit", ["session_id"])
    op.create_table(
        "timer_clock",
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("anchor_ns", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("boot_id", name="pk_timer_clock"),
    )


def downgrade() -> None:
    op.drop_table("timer_clock")
    op.drop_table("timer_audit")
    op.drop_table("timer_sessions")
