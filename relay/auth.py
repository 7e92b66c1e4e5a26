"""Tokens: who somebody is and what they may reach, signed with the relay's own secret (JWT, RFC 7519; HS256).

A user's or kit's token names a role; a link's token is also bound to one session. The secret is created on first use,
readable by its owner alone, and never leaves the data folder.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import jwt

from relay.errors import SettingsError, Unauthorized
from relay.files import write_new

_ALGORITHM = "HS256"
_ISSUER = "homeside"
SECRET_BYTES = 32
REMEMBERED = 10_000
"""Most verified tokens remembered: a flood of valid ones must not fill the memory."""


class Role(StrEnum):
    ADMIN = "admin"
    PHYSIOTHERAPIST = "physiotherapist"
    PATIENT = "patient"
    VIEWER = "viewer"
    KIT = "kit"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request.

    `session` binds a link's bearer to one session; `sign_in` is the sign-in of a user's token.
    """

    subject: str
    role: Role
    session: str | None = None
    sign_in: str | None = None
    issued_s: float = field(default=0.0, compare=False)
    """When the token was issued, in epoch seconds."""
    ends_s: float | None = field(default=None, compare=False)
    """When it expires, in epoch seconds; None without a token."""


def load_secret(path: Path) -> bytes:
    """The secret in a file; created with 256 bits from the system's generator when there is no file.

    SettingsError when the file holds less: nothing may be signed or encrypted with it.
    """
    if not path.exists():
        write_new(path, secrets.token_hex(SECRET_BYTES).encode() + b"\n", 0o600)
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except ValueError:
        secret = b""
    if len(secret) < SECRET_BYTES:
        raise SettingsError(f"{path} holds no whole secret. Restore it from a backup, or remove it to have one made.")
    return secret


class Tokens:
    """Issues and reads tokens. Times are epoch seconds, passed as arguments."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._verified: dict[str, tuple[Principal, float]] = {}

    def issue(self, principal: Principal, *, now_s: float, lifetime_s: float) -> str:
        claims: dict[str, object] = {
            "iss": _ISSUER,
            "sub": principal.subject,
            "role": principal.role.value,
            "iat": int(now_s),
            "exp": int(now_s + lifetime_s),
            "jti": secrets.token_urlsafe(9),
        }
        if principal.session is not None:
            claims["session"] = principal.session
        if principal.sign_in is not None:
            claims["sid"] = principal.sign_in
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def read(self, token: str, *, now_s: float) -> Principal:
        """The bearer of a token. Raises Unauthorized, with the reason, when it is not ours, damaged or expired.

        A verified token is remembered until it expires, for clients send the same one with every request.
        """
        known = self._verified.get(token) or self._verify(token)
        principal, ends_s = known
        if ends_s <= now_s:
            self._verified.pop(token, None)
            raise Unauthorized("The token has expired. Ask for a new link or sign in again.")
        if token not in self._verified:
            while len(self._verified) >= REMEMBERED:
                self._verified.pop(next(iter(self._verified)))
            self._verified[token] = known
        return principal

    def _verify(self, token: str) -> tuple[Principal, float]:
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                issuer=_ISSUER,
                options={"require": ["exp", "sub", "role"], "verify_exp": False, "verify_iat": False},
            )
            role = Role(claims["role"])
        except (jwt.InvalidTokenError, ValueError):
            raise Unauthorized("The token is not one of this relay's. Ask for a new link or sign in again.") from None
        issued_s = float(claims.get("iat", 0))
        ends_s = float(claims["exp"])
        who = Principal(str(claims["sub"]), role, claims.get("session"), claims.get("sid"), issued_s, ends_s)
        return who, ends_s
