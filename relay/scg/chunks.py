"""The rows that samples are stored in: a batch's messages packed per boot, and small rows merged later. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from core.contracts.columns import DamagedColumns, join, pack, unpack
from core.contracts.scg import Columns
from core.contracts.seq_ranges import SeqRanges

if TYPE_CHECKING:
    from relay.scg.entries import Entry

SMALL_SAMPLES, FULL_SAMPLES = 3_000, 6_000
"""Rows of fewer than SMALL samples (30 s at 100 Hz) are merged with their neighbours, up to FULL samples each."""

Key = tuple[str, str]
"""Session id and boot id."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Chunk:
    session: str
    boot: str | None
    parts: list[Columns] = field(default_factory=list)
    seqs: SeqRanges = field(default_factory=SeqRanges)
    clock: list[list[Any]] = field(default_factory=list)

    @property
    def weight(self) -> int:
        return sum(len(part) for part in self.parts)

    def take(self, entry: Entry) -> None:
        assert entry.columns is not None
        self.parts.append(entry.columns)
        if entry.seq is not None:
            self.seqs.add(entry.seq)
        if entry.clock is not None:
            note = entry.clock
            times = [note.tick_ns, note.offset_ns, note.packets] if note.packets else []
            self.clock.append([entry.seq, note.error_ms, note.tick, note.arrival_ns, *times])

    def row(self) -> dict[str, Any]:
        columns = join(self.parts)
        seqs = self.seqs.ranges()
        finite = columns.t
        return {
            "session_id": self.session,
            "boot": self.boot,
            "first_seq": seqs[0][0] if seqs else None,
            "seqs": seqs or None,
            "samples": len(columns),
            "t_min": float(finite.min()),
            "t_max": float(finite.max()),
            "body": pack(columns),
            "clock": self.clock or None,
        }


def rows_of(batch: Iterable[Entry], received: dict[Key, SeqRanges]) -> list[dict[str, Any]]:
    """One row per session and boot of a batch, leaving out messages that are stored already."""
    chunks: dict[tuple[str, str | None], Chunk] = {}
    for entry in batch:
        if entry.columns is None:
            continue
        if entry.boot and entry.seq is not None and entry.seq in received[entry.session, entry.boot]:
            continue
        key = (entry.session, entry.boot)
        chunks.setdefault(key, Chunk(*key)).take(entry)
    return [chunk.row() for chunk in chunks.values()]


def joined(rows: list[dict[str, Any]]) -> list[tuple[list[int], dict[str, Any]]]:
    """For each run of two or more neighbouring rows of one boot: the ids to delete, and the merged row to insert."""
    runs: dict[str | None, list[tuple[list[int], Chunk]]] = {}
    for row in rows:
        of_boot = runs.setdefault(row["boot"], [])
        if not of_boot or of_boot[-1][1].weight + row["samples"] > FULL_SAMPLES:
            of_boot.append(([], Chunk(row["session_id"], row["boot"])))
        numbers, chunk = of_boot[-1]
        numbers.append(row["id"])
        chunk.parts.append(unpack(row["body"]))
        chunk.seqs.extend(row["seqs"] or [])
        chunk.clock.extend(row["clock"] or [])
    return [(numbers, chunk.row()) for of_boot in runs.values() for numbers, chunk in of_boot if len(numbers) > 1]


def in_order(bodies: list[bytes]) -> Columns:
    parts = []
    for body in bodies:
        try:
            parts.append(unpack(body))
        except DamagedColumns as error:
            log.error("chunk_damaged", error=str(error), bytes=len(body))
    whole = join(parts)
    order = whole.t.argsort(kind="stable")
    return Columns(t=whole.t[order], ax=whole.ax[order], ay=whole.ay[order], az=whole.az[order])
