"""Text as every database keeps it: PostgreSQL has no NUL character, and what one sender says must not stop the rest."""

from __future__ import annotations

NO_NUL = r"^[^\x00]*$"
"""A pattern for msgspec.Meta."""
