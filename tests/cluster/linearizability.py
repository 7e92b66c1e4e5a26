"""Whether a recorded history of one versioned register could have happened one operation at a time. Pure.

Just-in-time linearization (Lowe, "Testing for linearizability", 2017): all orders that are still possible are carried
along as (version, operations that took effect before they returned). An operation whose outcome nobody knows may take
effect at any later moment, or never. The history is good while some order is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["ok", "refused", "unknown"]


@dataclass(frozen=True)
class Operation:
    """`read` saw `version`; `swap` wanted it and, if ok, made it one more. An `unknown` one has no end."""

    kind: Literal["read", "swap"]
    version: int
    began: float
    ended: float
    outcome: Outcome = "ok"

    def after(self, version: int) -> int | None:
        """The version after it took effect at `version`; None when it could not have."""
        same = self.version == version
        if self.kind == "read":
            return version if same else None
        if self.outcome == "refused":
            return None if same else version
        return version + 1 if same else None


def first_fault(history: list[Operation], start: int) -> Operation | None:
    """The first operation after whose return no order is left, or None for a linearizable history."""
    events = sorted(
        [(operation.began, 0, number) for number, operation in enumerate(history)]
        + [(operation.ended, 1, number) for number, operation in enumerate(history) if operation.outcome != "unknown"]
    )
    orders: set[tuple[int, frozenset[int]]] = {(start, frozenset())}
    open_: set[int] = set()
    for _, is_return, number in events:
        if not is_return:
            open_.add(number)
            continue
        orders = {(version, done - {number}) for version, done in _closure(orders, open_, history) if number in done}
        open_.discard(number)
        if not orders:
            return history[number]
        open_ -= _hopeless(orders, open_, history)
    return None


def _closure(
    orders: set[tuple[int, frozenset[int]]], open_: set[int], history: list[Operation]
) -> set[tuple[int, frozenset[int]]]:
    """Every order, with any of the open operations having taken effect, in any sequence that is possible."""
    found, waiting = set(orders), list(orders)
    while waiting:
        version, done = waiting.pop()
        for number in open_ - done:
            after = history[number].after(version)
            if after is not None and (order := (after, done | {number})) not in found:
                found.add(order)
                waiting.append(order)
    return found


def _hopeless(orders: set[tuple[int, frozenset[int]]], open_: set[int], history: list[Operation]) -> set[int]:
    """Swaps of unknown outcome that can take effect no more: versions only grow. Without this they would pile up."""
    least = min(version for version, _ in orders)
    return {
        number
        for number in open_
        if history[number].outcome == "unknown"
        and history[number].version < least
        and all(number not in done for _, done in orders)
    }
