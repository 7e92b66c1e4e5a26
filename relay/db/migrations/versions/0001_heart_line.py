"""Heart sessions and their chunks of samples."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "scg_sessions",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("started_at_ms", sa.Float(53), nullable=False),
        sa.Column("ended_at_ms", sa.Float(53)),
        sa.Column("kit", sa.String(64)),
        sa.Column("user_agent", sa.Text, nullable=False, server_default=""),
        sa.Column("platform", sa.Text, nullable=False, server_default=""),
        sa.Column("unit", sa.String(16), nullable=False, server_default="m/s2"),
        sa.Column("sensor", sa.JSON),
        sa.PrimaryKeyConstraint("id", name="pk_scg_sessions"),
    )
    op.create_table(
        "scg_chunks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False),
        sa.Column("session_id", sa.String(36), nullable=False),
        sa.Column("boot", sa.String(64)),
        sa.Column("first_seq", sa.BigInteger),
        sa.Column("seqs", sa.JSON),
        sa.Column("samples", sa.Integer, nullable=False),
        sa.Column("t_min", sa.Float(53), nullable=False),
        sa.Column("t_max", sa.Float(53), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("clock", sa.JSON),
        sa.PrimaryKeyConstraint("id", name="pk_scg_chunks"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["scg_sessions.id"], name="fk_scg_chunks_session_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("session_id", "boot", "first_seq", name="uq_scg_chunks_session_id_boot_first_seq"),
    )
    op.create_index("ix_scg_chunks_session_id_t_min", "scg_chunks", ["session_id", "t_min"])


def downgrade() -> None:
    op.drop_table("scg_chunks")
    op.drop_table("scg_sessions")
