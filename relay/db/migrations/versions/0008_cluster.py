"""Several relays on one database: one row per boot of what is stored; timers are written by compare-and-swap."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.contracts.seq_ranges import SeqRanges

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    received = op.create_table(
        "scg_received",
        sa.Column("session_id", sa.String(36), nullable=False),
        sa.Column("boot", sa.String(64), nullable=False),
        sa.Column("seqs", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("session_id", "boot", name="pk_scg_received"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["scg_sessions.id"], name="fk_scg_received_session_id", ondelete="CASCADE"
        ),
    )
    rows = [{"session_id": session, "boot": boot, "seqs": seqs.ranges()} for (session, boot), seqs in _stored().items()]
    if rows:
        op.bulk_insert(received, rows)
    op.add_column("timer_sessions", sa.Column("revision", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("timer_sessions", sa.Column("due_ms", sa.BigInteger))
    op.create_index("ix_timer_sessions_due_ms", "timer_sessions", ["due_ms"])


def _stored() -> dict[tuple[str, str], SeqRanges]:
    """What the chunks say is stored, boot by boot."""
    chunks = sa.table("scg_chunks", sa.column("session_id"), sa.column("boot"), sa.column("seqs", sa.JSON))
    columns = chunks.c
    query = sa.select(columns.session_id, columns.boot, columns.seqs).where(columns.boot.is_not(None))
    found: dict[tuple[str, str], SeqRanges] = {}
    for session, boot, seqs in op.get_bind().execute(query):
        found.setdefault((session, boot), SeqRanges()).extend(seqs or [])
    return found


def downgrade() -> None:
    op.drop_index("ix_timer_sessions_due_ms", "timer_sessions")
    op.drop_column("timer_sessions", "due_ms")
    op.drop_column("timer_sessions", "revision")
    op.drop_table("scg_received")
