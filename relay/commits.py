"""Waiting for a commit, for a limited time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from relay.errors import StoreUnavailable

ANSWER_WITHIN_S = 10.0
"""A full disk can refuse writes for hours; by then the caller is told."""


async def answered(committing: Awaitable[None]) -> None:
    """Wait for a commit. Raises StoreUnavailable when it takes too long; what is to be committed stays queued."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await committing
    except TimeoutError:
        raise StoreUnavailable("The database takes nothing now: its disk may be full. Try again later.") from None
