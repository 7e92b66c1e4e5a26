"""A request to store something waits for its commit, for a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from relay.errors import StoreUnavailable

ANSWER_WITHIN_S = 10.0
"""How long to wait for a commit: a full disk may block for hours, and a page must be told."""


async def answered(committing: Awaitable[None]) -> None:
    """Wait for a commit. Raises StoreUnavailable if it does not happen in time; the data stays queued to be
    committed.
    """
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await committing
    except TimeoutError:
        raise StoreUnavailable("The database takes nothing now: its disk may be full. Try again later.") from None
