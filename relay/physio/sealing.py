"""Encryption of sensitive columns: a patient's conditions, medications and emergency contact.

AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce; the column's name is authenticated with it, so that a value
cannot be moved from one column to another.
"""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.errors import SettingsError

MARK = "sealed:1:"
NONCE_BYTES = 12


class Seal:
    """Encrypts JSON values to text. `key` may have any length; a 256-bit key is derived from it."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(hashlib.sha256(b"homeside columns" + key).digest())

    def seal(self, value: Any, column: str) -> str:
        nonce = os.urandom(NONCE_BYTES)
        body = nonce + self._cipher.encrypt(nonce, msgspec.json.encode(value), column.encode())
        return MARK + base64.b64encode(body).decode()

    def open(self, text: str, column: str) -> Any:
        """The decrypted value. Raises SettingsError if it was encrypted with another key."""
        body = base64.b64decode(text.removeprefix(MARK))
        try:
            plain = self._cipher.decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], column.encode())
        except InvalidTag:
            raise SettingsError(f"{column} was sealed with another encryption_key; restore that one") from None
        return msgspec.json.decode(plain)

    def seal_column(self, value: Any, column: str) -> Any:
        """The encrypted value in the form the column's type needs: a list of texts, or an object."""
        sealed = self.seal(value, column)
        return {"sealed": sealed} if column == "emergency_contact" else [sealed]

    def open_column(self, stored: Any, column: str) -> Any:
        if not stored:
            return stored
        return self.open(stored["sealed"] if isinstance(stored, dict) else stored[0], column)
