"""Which kit sees an exercise session: one at a time, until it is released."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "session_kits",
        sa.Column("session_id", sa.Uuid, nullable=False),
        sa.Column("kit", sa.String(64), nullable=False),
        sa.Column("assigned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("session_id", name="pk_session_kits"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["exercise_sessions.id"], name="fk_session_kits_session", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_session_kits_kit", "session_kits", ["kit"])


def downgrade() -> None:
    op.drop_table("session_kits")
