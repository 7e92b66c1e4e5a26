"""The fleet: kits, what they run, releases, rollouts, diagnostics, and what operators asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "fleet_kits",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_fleet_kits"),
    )
    op.create_table(
        "fleet_packages",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_fleet_packages"),
    )
    op.create_table(
        "fleet_releases",
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("machine", sa.String(40), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("version", "machine", name="pk_fleet_releases"),
    )
    op.create_table(
        "fleet_rollouts",
        sa.Column("id", number, autoincrement=True, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_fleet_rollouts"),
    )
    op.create_table(
        "fleet_diagnostics",
        sa.Column("kit", sa.String(64), nullable=False),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("kit", name="pk_fleet_diagnostics"),
    )
    op.create_table(
        "fleet_audit",
        sa.Column("id", number, autoincrement=True, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("who", sa.String(256), nullable=False),
        sa.Column("kit", sa.String(64)),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_fleet_audit"),
    )
    op.create_index("ix_fleet_audit_kit", "fleet_audit", ["kit"])


def downgrade() -> None:
    for name in ("audit", "diagnostics", "rollouts", "releases", "packages", "kits"):
        op.drop_table(f"fleet_{name}")
