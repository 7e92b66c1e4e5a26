"""Keeps the place of the session timers' tables in the chain; it makes none itself."""

from __future__ import annotations

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing: the chain goes on."""


def downgrade() -> None:
    """Nothing to take back."""
