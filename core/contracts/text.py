"""Text that every database can store: PostgreSQL has no NUL character, and one sender's text must not
stop the others.
"""

from __future__ import annotations

NO_NUL = r"^[^\x00]*$"
"""A pattern for msgspec.Meta that refuses NUL."""
