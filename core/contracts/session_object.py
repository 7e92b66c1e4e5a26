"""The Full Session Object, generated in slices: a day of samples is never held in memory as one string."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from core.contracts.scg import FORMAT_VERSION, Columns, number

TUPLE_VERSION = "0.2"
SLICE = 5_000


def full_session(head: dict[str, Any], columns: Columns | None, *, tuples: bool = False) -> Iterator[bytes]:
    """The object as UTF-8 JSON: `version`, the keys of `head`, then `samples` as {t,ax,ay,az} or, with `tuples` (0.2),
    [t,ax,ay,az].
    """
    versioned = {"version": TUPLE_VERSION if tuples else FORMAT_VERSION, **head}
    yield from samples_object(msgspec.json.encode(versioned)[:-1] + b",", columns, tuples=tuples)


def samples_object(opening: bytes, columns: Columns | None, *, tuples: bool = False) -> Iterator[bytes]:
    """Yields `opening` (a JSON object not yet closed), `"samples":[…]` and the closing brace."""
    yield opening + b'"samples":['
    count = len(columns) if columns is not None else 0
    for start in range(0, count, SLICE):
        assert columns is not None
        rows = _rows(columns, slice(start, start + SLICE), tuples=tuples)
        yield rows if start == 0 else b"," + rows
    yield b"]}"


def _rows(columns: Columns, window: slice, *, tuples: bool) -> bytes:
    lists = [getattr(columns, key)[window].tolist() for key in ("t", "ax", "ay", "az")]
    rows = zip(*([number(value) for value in column] for column in lists), strict=True)
    if tuples:
        return msgspec.json.encode(list(rows))[1:-1]
    return msgspec.json.encode([{"t": t, "ax": ax, "ay": ay, "az": az} for t, ax, ay, az in rows])[1:-1]
