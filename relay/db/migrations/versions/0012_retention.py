"""Holds on recordings, and the rate to which an old recording was thinned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("scg_sessions", sa.Column("thinned_hz", sa.Float(53)))
    op.create_table(
        "scg_holds",
        sa.Column("session_id", sa.String(36), nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("at_ms", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("session_id", name="pk_scg_holds"),
        sa.ForeignKeyConstraint(["session_id"], ["scg_sessions.id"], name="fk_scg_holds_session_id"),
    )


def downgrade() -> None:
    op.drop_table("scg_holds")
    op.drop_column("scg_sessions", "thinned_hz")
