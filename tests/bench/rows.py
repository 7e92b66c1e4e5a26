"""A row of a benchmark's table: what was measured, and beside what, in the same run."""

from __future__ import annotations

from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Row(NamedTuple):
    """`peer` is another program measured in the same run, or "goal" with the figure aimed at."""

    name: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.peer_value if self.peer_value else None


def number(value: float | None) -> str:
    """Three significant digits, thousands apart."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def show(title: str, rows: list[Row]) -> None:
    table = Table("what", "ours", "unit", "beside", "theirs", "ratio", title=title)
    for row in rows:
        table.add_row(row.name, number(row.value), row.unit, row.peer, number(row.peer_value), number(row.ratio))
    Console(width=140).print(table)
