"""Signing in, staying signed in, signing out. Knows nothing of HTTP or SQL.

An access token names its sign-in and is invalid once that has ended. A refresh token is random, stored only as a
digest, and can be used once: a second use ends its sign-in, whoever holds either copy.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from relay.accounts.passwords import Passwords
from relay.accounts.store import Account, AccountStore, Rotation
from relay.auth import Principal, Tokens
from relay.errors import Unauthorized

AGAIN = "Sign in again."
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    access_s: float
    refresh_s: float


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The result of a sign-in or a refresh."""

    account: Account
    access_token: str
    refresh_token: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class Visit:
    """Who asks, and from where, as recorded in the audit trail."""

    account: Account
    sign_in: str
    address: str | None
    agent: str


class Accounts:
    def __init__(
        self,
        store: AccountStore,
        passwords: Passwords,
        tokens: Tokens,
        lifetimes: Lifetimes,
        now_ms: Callable[[], float],
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._tokens = tokens
        self._lifetimes = lifetimes
        self._now_ms = now_ms

    async def login(self, email: str, password: str) -> SignedIn:
        """Sign in. Raises Unauthorized, with the same text for an unknown address, a wrong password and a disabled
        account.
        """
        found = await self._store.by_email(email)
        good = await self._passwords.verify(found[1] if found else None, password)
        if found is None or not good or found[0].disabled:
            log.warning("sign_in_refused", user=found[0].id if found else None)
            raise Unauthorized("The e-mail address or the password is wrong.")
        fresh, digest = _refresh_token()
        sign_in = await self._store.open_sign_in(found[0].id, digest, self._refresh_until())
        log.info("signed_in", user=found[0].id)
        return self._signed(found[0], sign_in, fresh)

    async def refresh(self, token: str) -> SignedIn:
        fresh, digest = _refresh_token()
        outcome, sign_in = await self._store.rotate(_digest(token), digest, self._refresh_until(), self._now())
        if outcome is Rotation.REUSED:
            log.warning("refresh_token_reused", sign_in=sign_in)
        if outcome is not Rotation.DONE or sign_in is None:
            raise Unauthorized(f"The refresh token is not valid, expired or was used before. {AGAIN}")
        return self._signed(await self._standing(sign_in), sign_in, fresh)

    async def who(self, token: str) -> tuple[Account, str]:
        """The account and the sign-in of an access token. Raises Unauthorized."""
        principal = self._tokens.read(token, now_s=self._now_ms() / 1000)
        if principal.sign_in is None:
            raise Unauthorized(f"This token is for the heart line. {AGAIN}")
        return await self._standing(principal.sign_in), principal.sign_in

    async def logout(self, sign_in: str) -> None:
        await self._store.end_sign_in(sign_in, "logout", self._now())

    async def _standing(self, sign_in: str) -> Account:
        account = await self._store.signed_in(sign_in)
        if account is None or account.disabled:
            raise Unauthorized(f"This sign-in has ended. {AGAIN}")
        return account

    def _signed(self, account: Account, sign_in: str, refresh_token: str) -> SignedIn:
        principal = Principal(account.id, account.role, sign_in=sign_in)
        lifetime = self._lifetimes.access_s
        access = self._tokens.issue(principal, now_s=self._now_ms() / 1000, lifetime_s=lifetime)
        return SignedIn(account, access, refresh_token, int(lifetime))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._now_ms() / 1000, UTC)

    def _refresh_until(self) -> datetime:
        return self._now() + timedelta(seconds=self._lifetimes.refresh_s)


def user_body(account: Account) -> dict[str, Any]:
    """A user as shown in responses."""
    body = {
        "id": account.id,
        "email": account.email,
        "role": account.role.value,
        "first_name": account.first_name,
        "last_name": account.last_name,
        "name": account.name,
    }
    if account.patient_id:
        body["patient_id"] = account.patient_id
    if account.physiotherapist_id:
        body["physiotherapist_id"] = account.physiotherapist_id
    return body


def _refresh_token() -> tuple[str, str]:
    token = secrets.token_urlsafe(32)
    return token, _digest(token)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
