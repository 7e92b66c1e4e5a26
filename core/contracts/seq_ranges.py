"""Sequence numbers as sorted inclusive ranges: how acknowledgements are counted, kept and written.

A day without loss is one pair of numbers; each hole costs one more.
"""

from __future__ import annotations

from bisect import bisect_right


class SeqRanges:
    """Which sequence numbers were seen, as sorted inclusive ranges: a day without loss is one pair of numbers."""

    def __init__(self, ranges: list[list[int]] | None = None) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(ranges or []):
            self._absorb(start, end)

    def __contains__(self, seq: int) -> bool:
        index = bisect_right(self._starts, seq) - 1
        return index >= 0 and seq <= self._ends[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SeqRanges) and (self._starts, self._ends) == (other._starts, other._ends)

    __hash__ = None  # type: ignore[assignment]

    def add(self, seq: int) -> bool:
        """Take `seq` in; False when it was there already."""
        if seq in self:
            return False
        self._absorb(seq, seq)
        return True

    def extend(self, ranges: list[list[int]]) -> None:
        for start, end in ranges:
            self._absorb(start, end)

    def ranges(self) -> list[list[int]]:
        return [list(pair) for pair in zip(self._starts, self._ends, strict=True)]

    def _absorb(self, start: int, end: int) -> None:
        low = bisect_right(self._ends, start - 2)
        high = bisect_right(self._starts, end + 1)
        if low < high:
            start = min(start, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]
