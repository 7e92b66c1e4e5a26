"""A request's body, read no further than it may be long."""

from __future__ import annotations

from fastapi import Request


async def whole_body(request: Request, most_bytes: int, refusal: Exception) -> bytes:
    """All of it. Raises `refusal` as soon as there is more than `most_bytes`, whatever its header said."""
    taken = bytearray()
    async for part in request.stream():
        taken += part
        if len(taken) > most_bytes:
            raise refusal
    return bytes(taken)
