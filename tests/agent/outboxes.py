"""An outbox filled and emptied by hand."""

from __future__ import annotations

from agent.outbox import Message, Outbox

SESSION = "0b0c7a52-6d0e-4b59-9f5c-2f6f3f1a9d11"
QUOTA = 1 << 30


async def drained(outbox: Outbox) -> list[Message]:
    """Everything that would be sent as history, in order."""
    found = []
    while True:
        while (message := outbox.next_due()) is not None:
            found.append(message)
        if not outbox.has_more:
            return found
        await outbox.refill(16)


def put(outbox: Outbox, n: int = 1, at_ms: int = 1_700_000_000_000) -> list[Message]:
    return [outbox.put("samples_batch", {"samples": [[0.1] * 30]}, SESSION, at_ms + i * 100) for i in range(n)]
