"""A kit's reports get a column of their own, so that writing them and writing its target never overwrite each other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("fleet_kits", sa.Column("told", sa.Text))


def downgrade() -> None:
    op.drop_column("fleet_kits", "told")
