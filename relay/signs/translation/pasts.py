"""What each session said before: bounded; the one silent for longest is forgotten first. In memory here; a cluster has
its own store.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Protocol

from relay.errors import InvalidSession
from relay.process.metrics import Metrics

HISTORY = 50
CONTEXTS = 5_000


@dataclass(slots=True)
class Conversation:
    """One session's history, newest last. `owner` is who began it."""

    owner: str | None
    past: deque[tuple[list[str], str]] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def readable(self, owner: str | None) -> bool:
        """Whether `owner` may read it; None may read everybody's."""
        return owner in (None, self.owner)


class Pasts(Protocol):
    """Where conversations are stored."""

    async def find(self, session_id: str) -> Conversation | None: ...

    async def add(self, session_id: str, owner: str | None, signs: list[str], text: str) -> None:
        """Add a sentence. Raises InvalidSession if the session belongs to somebody else by now."""
        ...

    async def forget(self, session_id: str) -> None: ...


class Memory:
    """Conversations of one relay, kept until it stops."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._conversations: OrderedDict[str, Conversation] = OrderedDict()

    async def find(self, session_id: str) -> Conversation | None:
        found = self._conversations.get(session_id)
        if found is not None:
            self._conversations.move_to_end(session_id)
        return found

    async def add(self, session_id: str, owner: str | None, signs: list[str], text: str) -> None:
        found = self._conversations.setdefault(session_id, Conversation(owner))
        if not found.readable(owner):
            raise InvalidSession("Session not found")
        found.past.append((signs, text))
        self._conversations.move_to_end(session_id)
        while len(self._conversations) > CONTEXTS:
            self._conversations.popitem(last=False)
            self._metrics.signs_dropped.labels("context").inc()

    async def forget(self, session_id: str) -> None:
        self._conversations.pop(session_id, None)
