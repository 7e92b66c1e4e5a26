"""Who asked for something to be stored waits for its commit, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from relay.errors import StoreUnavailable

ANSWER_WITHIN_S = 10.0
"""A full disk takes nothing for hours, and a page must say so."""


async def answered(committing: Awaitable[None]) -> None:
    """Waits for a commit. Raises StoreUnavailable when it does not come in time; what waits for it stays."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await committing
    except TimeoutError:
        raise StoreUnavailable("The database takes nothing now: its disk may be full. Try again later.") from None
