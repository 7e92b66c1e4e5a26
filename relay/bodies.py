"""Reads a request's body up to a limit."""

from __future__ import annotations

from fastapi import Request


async def whole_body(request: Request, most_bytes: int, refusal: Exception) -> bytes:
    """The whole body. Raises `refusal` as soon as more than `most_bytes` have arrived, whatever Content-Length said."""
    taken = bytearray()
    async for part in request.stream():
        taken += part
        if len(taken) > most_bytes:
            raise refusal
    return bytes(taken)
