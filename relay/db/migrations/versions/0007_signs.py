"""Fingerspelling: people's calibrations, and the letters that kits read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sign_calibrations",
        sa.Column("owner", sa.String(256), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("hands", sa.LargeBinary, nullable=False),
        sa.Column("labels", sa.LargeBinary, nullable=False),
        sa.Column("has_z", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("owner", "name", name="pk_sign_calibrations"),
    )
    op.create_table(
        "sign_messages",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kit", sa.String(64), nullable=False),
        sa.Column("session_id", sa.String(128), nullable=False),
        sa.Column("boot", sa.String(64), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sign_messages"),
        sa.UniqueConstraint("session_id", "boot", "seq", name="uq_sign_messages_session_id_boot_seq"),
    )


def downgrade() -> None:
    op.drop_table("sign_messages")
    op.drop_table("sign_calibrations")
