"""Sequence numbers as inclusive ranges, as in an `ack`: [[1, 8], [11, 11]]."""

from __future__ import annotations

from collections.abc import Iterable

Ranges = list[list[int]]


def compress(numbers: Iterable[int]) -> Ranges:
    """Ranges in rising order that cover exactly `numbers`."""
    found: Ranges = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def expand(ranges: Ranges) -> list[int]:
    """Every number in the ranges. For our own ranges only: those received from outside may be huge, see `within`."""
    return [number for first, last in ranges for number in range(first, last + 1)]


def count(ranges: Ranges) -> int:
    return sum(max(0, last - first + 1) for first, last in ranges)


def within(ranges: Ranges, known: Iterable[int]) -> list[int]:
    """The `known` numbers that lie in `ranges`; the work is bounded by `known`, not by the size of the ranges."""
    spans = sorted((first, last) for first, last in ranges if first <= last)
    found, at = [], 0
    for number in sorted(known):
        while at < len(spans) and spans[at][1] < number:
            at += 1
        if at < len(spans) and spans[at][0] <= number:
            found.append(number)
    return found
