"""Text that every database here can hold: any but NUL, which PostgreSQL stores in no column of text or JSON."""

from __future__ import annotations

import re

from core.contracts.errors import InvalidMessage

_ESCAPED = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def refuse_nul(body: bytes) -> None:
    """InvalidMessage when any text in this JSON has a NUL; JSON has it escaped or not at all (RFC 8259 section 7)."""
    if b"\\u0000" in body and _ESCAPED.search(body):
        raise InvalidMessage("Expected text without NUL (\\u0000)")
