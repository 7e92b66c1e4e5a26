"""Identities of kits: claims, kits, certificates, and the audit of every step."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from relay.db.physio import Moment

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity_claims",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("kit", sa.String(64), nullable=False),
        sa.Column("made_at", Moment, nullable=False),
        sa.Column("made_by", sa.String(256), nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
        sa.Column("withdrawn_at", Moment),
        sa.Column("spent_at", Moment),
        sa.Column("serial", sa.String(40)),
        sa.PrimaryKeyConstraint("id", name="pk_identity_claims"),
        sa.UniqueConstraint("digest", name="uq_identity_claims_digest"),
    )
    op.create_index("ix_identity_claims_kit", "identity_claims", ["kit"])
    op.create_table(
        "identity_kits",
        sa.Column("kit", sa.String(64), nullable=False),
        sa.Column("enrolled_at", Moment, nullable=False),
        sa.Column("tokens_since", Moment),
        sa.Column("revoked_at", Moment),
        sa.Column("revoked_why", sa.String(256)),
        sa.PrimaryKeyConstraint("kit", name="pk_identity_kits"),
    )
    op.create_index("ix_identity_kits_revoked_at", "identity_kits", ["revoked_at"])
    op.create_table(
        "identity_certificates",
        sa.Column("serial", sa.String(40), nullable=False),
        sa.Column("kit", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("not_before", Moment, nullable=False),
        sa.Column("not_after", Moment, nullable=False),
        sa.Column("pem", sa.Text, nullable=False),
        sa.Column("revoked_at", Moment),
        sa.PrimaryKeyConstraint("serial", name="pk_identity_certificates"),
    )
    op.create_index("ix_identity_certificates_kit", "identity_certificates", ["kit"])
    op.create_index("ix_identity_certificates_revoked_at", "identity_certificates", ["revoked_at"])
    op.create_table(
        "identity_audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("what", sa.String(32), nullable=False),
        sa.Column("kit", sa.String(64)),
        sa.Column("who", sa.String(256), nullable=False),
        sa.Column("address", sa.String(64)),
        sa.Column("detail", sa.String(512), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("id", name="pk_identity_audit"),
    )
    op.create_index("ix_identity_audit_kit", "identity_audit", ["kit"])


def downgrade() -> None:
    for table in ("identity_audit", "identity_certificates", "identity_kits", "identity_claims"):
        op.drop_table(table)
