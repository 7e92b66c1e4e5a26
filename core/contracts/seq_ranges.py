"""Sets of sequence numbers as sorted inclusive ranges: the form in which acknowledgements are counted, stored and sent.

A day without loss is one pair of numbers; each hole adds one pair.
"""

from __future__ import annotations

from bisect import bisect_right


class SeqRanges:
    """The sequence numbers seen so far, as sorted inclusive ranges."""

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
        """Add `seq`; returns False when it was already present."""
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
