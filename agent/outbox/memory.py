"""Tracks every message's state: in memory only, on disk, in flight, due again, settled. No disk and no clock.

A message starts as `fresh`. A commit moves the fresh messages into blocks on disk; after that, memory holds only blocks
with messages in flight, due or newly settled. So memory stays small through any outage, and a message once acknowledged
is never loaded from disk again.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from agent.outbox.blocks import Block, Change, Dropped, Rejected
from agent.outbox.ranges import Ranges, within

MAX_FRESH_BYTES = 16 << 20
"""About half an hour of messages while the disk refuses to take them; beyond that the oldest are
dropped and counted."""
MAX_BLOCK_MESSAGES = 50

Key = tuple[str, int]


@dataclass(slots=True, eq=False)
class Message:
    """One numbered message. `block` is its block on disk, or None while it exists in memory only."""

    boot: str
    seq: int
    session: str
    body: bytes
    enqueued_ms: int
    born: float
    kept: bool = False
    block: int | None = None
    flying: bool = False

    @property
    def key(self) -> Key:
        return self.boot, self.seq


class Memory:
    def __init__(self) -> None:
        self.next_block = 1
        self.fresh: dict[Key, Message] = {}
        self.settled: dict[int, int] = {}
        """For each block on disk, how many of its messages were settled since its last commit."""
        self.rejected: list[Rejected] = []
        self.lost = 0
        """Messages dropped before they reached the disk, because it refused for too long; since the last commit."""
        self._fresh_bytes = 0
        self._unsent: OrderedDict[Key, Message] = OrderedDict()
        self._blocks: dict[int, dict[int, Message]] = {}
        self._held: dict[Key, Message] = {}
        self._due: list[tuple[int, int, str]] = []

    @property
    def oldest(self) -> Message | None:
        """The fresh message that has waited longest for a commit or an acknowledgement."""
        return next(iter(self.fresh.values()), None)

    @property
    def due(self) -> int:
        """Upper bound on the messages that `next_due` can return."""
        return len(self._due)

    def add(self, message: Message) -> None:
        self.fresh[message.key] = message
        self._fresh_bytes += len(message.body)
        self._unsent[message.key] = message
        while self._fresh_bytes > MAX_FRESH_BYTES and self._sacrifice():
            self.lost += 1

    def next_live(self) -> Message | None:
        """The oldest fresh message that was never sent; it counts as in flight from now on."""
        if not self._unsent:
            return None
        _, message = self._unsent.popitem(last=False)
        message.flying = True
        return message

    def next_due(self) -> Message | None:
        """The oldest message of the loaded blocks that is not in flight; it counts as in flight from now on."""
        while self._due:
            block, seq, boot = heapq.heappop(self._due)
            message = self._held.get((boot, seq))
            if message is not None and message.block == block and not message.flying:
                message.flying = True
                return message
        return None

    def grounded(self, messages: Iterable[Message]) -> None:
        """These are no longer in flight and still unacknowledged; from now on they are sent as history."""
        for message in messages:
            message.flying = False
            if message.block is not None and message.key in self._held:
                heapq.heappush(self._due, (message.block, message.seq, message.boot))

    def acked(self, boot: str, ranges: Ranges) -> list[Message]:
        known = [seq for owner, seq in (*self.fresh, *self._held) if owner == boot]
        return [self.settle((boot, seq)) for seq in within(ranges, known)]

    def knows(self, key: Key) -> bool:
        return key in self.fresh or key in self._held

    def settle(self, key: Key) -> Message:
        message = self.fresh.pop(key, None)
        if message is not None:
            self._unsent.pop(key, None)
            self._fresh_bytes -= len(message.body)
            return message
        message = self._held.pop(key)
        assert message.block is not None
        block = self._blocks[message.block]
        del block[message.seq]
        if not block:
            del self._blocks[message.block]
        self.settled[message.block] = self.settled.get(message.block, 0) + 1
        return message

    def load(self, blocks: Iterable[Block], born: float) -> None:
        """Take in blocks read from disk, except those already held here, or with settled messages not yet removed on
        disk.
        """
        for block in blocks:
            if block.id not in self._blocks and block.id not in self.settled:
                self._hold(block.id, _messages(block, born))

    def gather(self, *, fresh: bool) -> tuple[list[Message], Change]:
        """Everything for one commit, with or without the fresh messages.

        Nothing is forgotten: a failed commit is gathered again.
        """
        spilled = list(self.fresh.values()) if fresh else []
        change = Change(reject=list(self.rejected), lost=self.lost)
        for (boot, session, kept), run in groupby(spilled, key=lambda m: (m.boot, m.session, m.kept)):
            for part in _parts(list(run)):
                bodies = {message.seq: message.body for message in part}
                change.add.append(Block(self.next_block, boot, session, part[0].enqueued_ms, bodies, kept))
                for message in part:
                    message.block = self.next_block
                self.next_block += 1
        for block in self.settled:
            if block in self._blocks:
                change.narrow[block] = list(self._blocks[block])
            else:
                change.remove.append(block)
        return spilled, change

    def failed(self, spilled: list[Message]) -> None:
        for message in spilled:
            message.block = None

    def committed(self, spilled: list[Message], change: Change, settled: dict[int, int]) -> None:
        """The gathered change is on disk; `settled` is a copy of the settled counts from when it was gathered."""
        for block, count in settled.items():
            self.settled[block] -= count
            if not self.settled[block]:
                del self.settled[block]
        del self.rejected[: len(change.reject)]
        self.lost -= change.lost
        for block_id, run in groupby(spilled, key=lambda message: message.block):
            if block_id is not None:
                self._spilled(block_id, list(run))

    def dropped(self, dropped: Dropped) -> None:
        """The quota dropped these blocks: their messages are neither settled nor sent again."""
        for block in dropped.blocks:
            self.settled.pop(block, None)
            for message in self._blocks.pop(block, {}).values():
                self._held.pop(message.key, None)

    @property
    def held_blocks(self) -> list[int]:
        return list(self._blocks)

    def reclaim(self, there: set[int]) -> None:
        """After a salvage: messages held in memory whose blocks were lost become fresh again, to be rewritten."""
        for block in [held for held in self._blocks if held not in there]:
            for message in self._blocks.pop(block).values():
                del self._held[message.key]
                message.block = None
                self.fresh[message.key] = message
                self._fresh_bytes += len(message.body)

    def _spilled(self, block: int, part: list[Message]) -> None:
        left = {message.seq: message for message in part if self.fresh.pop(message.key, None) is not None}
        for message in left.values():
            self._unsent.pop(message.key, None)
        self._fresh_bytes -= sum(len(message.body) for message in left.values())
        if len(left) < len(part):
            self.settled[block] = len(part) - len(left)
        if left and (block in self.settled or any(message.flying for message in left.values())):
            self._hold(block, left)

    def _hold(self, block: int, messages: dict[int, Message]) -> None:
        self._blocks[block] = messages
        for message in messages.values():
            self._held[message.key] = message
            if not message.flying:
                heapq.heappush(self._due, (block, message.seq, message.boot))

    def _sacrifice(self) -> bool:
        oldest = next((m for m in self.fresh.values() if m.block is None and not m.kept), None)
        if oldest is not None:
            self.settle(oldest.key)
        return oldest is not None


def _messages(block: Block, born: float) -> dict[int, Message]:
    return {
        seq: Message(block.boot, seq, block.session, body, block.enqueued_ms, born, block.kept, block.id)
        for seq, body in block.messages.items()
    }


def _parts(messages: list[Message]) -> list[list[Message]]:
    return [messages[at : at + MAX_BLOCK_MESSAGES] for at in range(0, len(messages), MAX_BLOCK_MESSAGES)]
