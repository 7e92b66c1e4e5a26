"""Tokens: who the bearer is and what they may reach, signed with the relay's own secret (JWT, RFC 7519; HS256).

A user's or kit's token names a role; a link's token is also bound to one session. The secret is created on first use,
readable by its owner only, and never leaves the data folder.
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
"""Most verified tokens kept in memory; when full, the one added first is dropped."""


class Role(StrEnum):
    ADMIN = "admin"
    PHYSIOTHERAPIST = "physiotherapist"
    PATIENT = "patient"
    VIEWER = "viewer"
    KIT = "kit"


@dataclass(frozen=True, slots=True)
class Principal:
    """The bearer of a token. `session` binds a link to one session; `sign_in` is the sign-in a user's token
    belongs to.
    """

    subject: str
    role: Role
    session: str | None = None
    sign_in: str | None = None
    issued_s: float = field(default=0.0, compare=False)
    """When the token was issued, in epoch seconds."""
    ends_s: float | None = field(default=None, compare=False)
    """When the token expires, in epoch seconds."""


def load_secret(path: Path) -> bytes:
    """The secret in a file; if the file does not exist, 256 bits from the system's random generator are written to it.

    Raises SettingsError for a file that holds less: nothing may be signed or encrypted with that.
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
    """Issues and reads tokens. Time is an argument, in epoch seconds, so that expiry can be tested without waiting."""

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
        """The token's bearer. Raises Unauthorized, saying why, for a token that is foreign, malformed or expired.

        A signature is verified once and then remembered with its expiry, since clients send the same token with every
        request.
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
