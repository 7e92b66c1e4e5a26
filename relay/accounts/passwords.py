"""Passwords as Argon2id hashes (RFC 9106), computed in threads of their own.

A hash takes tens of milliseconds and 64 MiB on purpose. The event loop never waits for one: two threads compute, a
bounded number of requests wait, and the others are told to try again.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from relay.errors import Full, SettingsError

THREADS = 2
MAX_WAITING = 1_000
LEAST, MOST = 10, 1024


class Passwords:
    """`verify` takes the same time for a user that does not exist, so that response times do not tell who has an
    account.
    """

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        self._waiting = 0
        self._nobody: str | None = None

    def hash(self, password: str) -> str:
        """Hash a password, blocking; for commands. Raises SettingsError for one that is too short or too long."""
        if not LEAST <= len(password) <= MOST:
            raise SettingsError(f"a password has {LEAST} to {MOST} characters")
        return self._hasher.hash(password)

    async def verify(self, hashed: str | None, password: str) -> bool:
        if self._waiting >= MAX_WAITING:
            raise Full("Too many people are signing in at this moment. Try again in a few seconds.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._check, hashed, password)
        finally:
            self._waiting -= 1

    def _check(self, hashed: str | None, password: str) -> bool:
        if self._nobody is None:
            self._nobody = self._hasher.hash("nobody has this password")
        try:
            return self._hasher.verify(hashed or self._nobody, password) and hashed is not None
        except (VerificationError, InvalidHashError):
            return False

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
