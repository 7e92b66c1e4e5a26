"""Signed links: whoever holds one may do the one thing it was made for, until it expires.

The signature is HMAC-SHA-256 over the purpose, the id and the expiry time.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import urlencode

from relay.errors import Forbidden


class Links:
    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"homeside links", hashlib.sha256)

    def query(self, purpose: str, identity: str, expires: datetime) -> str:
        """Query string of a link: `expires=…&signature=…`, with the expiry in epoch seconds."""
        until = int(expires.timestamp())
        return urlencode({"expires": until, "signature": self._sign(purpose, identity, until)})

    def check(self, purpose: str, identity: str, expires: str, signature: str, now: datetime) -> None:
        """Raises Forbidden if the link was altered, was made for another purpose, or has expired."""
        until = int(expires) if expires.isascii() and expires.isdigit() and len(expires) < 12 else 0
        expected = self._sign(purpose, identity, until)
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
            raise Forbidden("The link's signature does not hold. Ask for a new link.")
        if datetime.fromtimestamp(until, UTC) <= now:
            raise Forbidden("The link has expired. Ask for a new one.")

    def _sign(self, purpose: str, identity: str, until: int) -> str:
        said = f"{purpose}\n{identity}\n{until}".encode()
        return hmac.new(self._key, said, hashlib.sha256).hexdigest()
