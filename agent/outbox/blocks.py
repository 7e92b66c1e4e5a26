"""The contents of the outbox's file as values and bytes; nothing here touches a file.

A block holds the messages of up to one second (newline-delimited JSON, deflated) with the ranges that are still
unacknowledged. Two checksums protect it, a CRC-32 over the columns and an Adler-32 inside the deflated body: a flipped
bit costs one block, which is counted and never sent.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agent.errors import OutboxDamaged
from agent.outbox.ranges import Ranges, compress, expand

SELECT = "SELECT id, boot, session, kept, enqueued_at, unacked, seal, body FROM block"
INSERT = "INSERT INTO block(id, boot, session, kept, enqueued_at, unacked, seal, body) VALUES (?,?,?,?,?,?,?,?)"
CARRY = INSERT.replace("INSERT", "INSERT OR IGNORE")
"""For rows from a damaged file, some of which may appear twice."""

SCHEMA = (
    "CREATE TABLE block(id INTEGER PRIMARY KEY,boot,session,kept,enqueued_at,unacked,seal,body)",
    "CREATE TABLE rejected(id INTEGER PRIMARY KEY,boot,seq,code,message,rejected_at,body)",
    "CREATE TABLE state(id INTEGER PRIMARY KEY,body)",
    "INSERT INTO state VALUES(1,'{}')",
    "PRAGMA user_version = 1",
)
"""Short enough to fit on the file's first page, so that a lost first page can be rebuilt: see `salvage`."""

PAGE_BYTES = 512


class SessionMark(msgspec.Struct):
    """The session this kit was last in. Times in epoch ms; `ended_at` is None while the session runs."""

    id: str
    started_at: int
    seen_at: int
    ended_at: int | None = None


class State(msgspec.Struct, omit_defaults=True):
    """What must survive a restart beside the messages; written with every commit, in the same transaction."""

    messages: int = 0
    dropped: int = 0
    dropped_from: int | None = None
    dropped_to: int | None = None
    damaged: int = 0
    rejected: int = 0
    session: SessionMark | None = None
    others: dict[str, SessionMark] = {}
    """The sessions of a kit's further sensors, by the sensor's name."""


@dataclass(slots=True)
class Block:
    """Unacknowledged messages of one boot and session, `{seq: body}`. `kept` blocks are never dropped by the quota."""

    id: int
    boot: str
    session: str
    enqueued_ms: int
    messages: dict[int, bytes]
    kept: bool = False


@dataclass(slots=True)
class Rejected:
    """A message that the relay will never store."""

    boot: str
    seq: int
    code: str
    message: str
    at_ms: int
    body: bytes


@dataclass(slots=True)
class Change:
    """One commit: blocks to add, the remaining messages of others, blocks to remove;

    `lost` messages never reached the disk.
    """

    add: list[Block] = field(default_factory=list)
    narrow: dict[int, list[int]] = field(default_factory=dict)
    remove: list[int] = field(default_factory=list)
    reject: list[Rejected] = field(default_factory=list)
    session: SessionMark | None = None
    others: dict[str, SessionMark] | None = None
    lost: int = 0

    def __bool__(self) -> bool:
        return bool(self.add or self.narrow or self.remove or self.reject or self._marked or self.lost)

    @property
    def _marked(self) -> bool:
        return self.session is not None or bool(self.others)


@dataclass(slots=True)
class Dropped:
    """What the quota dropped: block ids, the number of messages, and when they were enqueued (epoch ms)."""

    blocks: list[int] = field(default_factory=list)
    messages: int = 0
    from_ms: int | None = None
    to_ms: int | None = None

    def add(self, block_id: int, enqueued_ms: int, messages: int) -> None:
        self.blocks.append(block_id)
        self.messages += messages
        self.from_ms = enqueued_ms if self.from_ms is None else min(self.from_ms, enqueued_ms)
        self.to_ms = enqueued_ms if self.to_ms is None else max(self.to_ms, enqueued_ms)


class _Numbered(msgspec.Struct):
    seq: int


_numbered = msgspec.json.Decoder(_Numbered)
_state = msgspec.json.Decoder(State)
_ranges = msgspec.json.Decoder(Ranges)
_encode = msgspec.json.Encoder().encode


def seal(*columns: object) -> int:
    """CRC-32 over all columns of a row but the body, which has its own checksum."""
    return zlib.crc32("|".join(map(str, columns)).encode())


def row(block: Block) -> tuple[Any, ...]:
    """A block as the eight values of INSERT."""
    unacked = spelled(block.messages)
    head = (block.id, block.boot, block.session, int(block.kept), block.enqueued_ms, unacked)
    return (*head, seal(*head), zlib.compress(b"\n".join(block.messages.values()), 6))


def unrow(found: tuple[Any, ...]) -> Block:
    """The unacknowledged messages of a row. Raises OutboxDamaged when the row is not as it was written."""
    block_id, boot, session, kept, enqueued_ms, unacked, sealed, body = found
    if seal(block_id, boot, session, kept, enqueued_ms, unacked) != sealed:
        raise OutboxDamaged(f"block {block_id} cannot be read: its columns do not match their seal", block=block_id)
    try:
        lines = {_numbered.decode(line).seq: line for line in zlib.decompress(body).split(b"\n")}
        messages = {seq: lines[seq] for seq in unspelled(unacked)}
    except (ValueError, KeyError, TypeError, zlib.error, msgspec.MsgspecError) as error:
        raise OutboxDamaged(f"block {block_id} cannot be read: {error}", block=block_id) from None
    return Block(block_id, boot, session, enqueued_ms, messages, bool(kept))


def spelled(seqs: dict[int, bytes] | list[int]) -> str:
    return _encode(compress(seqs)).decode()


def unspelled(unacked: str) -> list[int]:
    return expand(_ranges.decode(unacked))


def state_row(state: State) -> str:
    return _encode(state).decode()


def unstate(text: object) -> State | None:
    """The state from its row, or None when it cannot be read."""
    try:
        return _state.decode(text)  # type: ignore[arg-type]
    except (msgspec.MsgspecError, TypeError, ValueError):
        return None
