"""A table of kits (CSV), one per line: the kit's name, and what differs from the others.

Any bad line stops everything.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from core.contracts.topics import valid_kit
from provisioning.errors import TableUnusable

COLUMNS = ("kit", "timezone", "wifi_network", "wifi_password", "wifi_country", "tags", "serial_port", "ble_sensor")
MOST = 20_000


@dataclass(frozen=True, slots=True)
class Row:
    kit: str
    values: dict[str, str]

    def get(self, column: str, otherwise: str = "") -> str:
        return self.values.get(column) or otherwise

    @property
    def tags(self) -> list[str]:
        return [tag.strip() for tag in self.get("tags").split(";") if tag.strip()]


def read_table(text: str) -> list[Row]:
    """Read the table. TableUnusable names all bad lines at once, with their problems."""
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff")), strict=True)
    wrong: list[str] = []
    rows: dict[str, Row] = {}
    try:
        columns = [name.strip() for name in reader.fieldnames or []]
        if "kit" not in columns or (strange := sorted(set(columns) - set(COLUMNS))):
            said = "there is no column kit" if "kit" not in columns else f"no column is called {', '.join(strange)}"
            raise TableUnusable(f"{said}; there may be {', '.join(COLUMNS)}")
        for values in reader:
            row = _row(values, reader.line_num, wrong)
            if row is not None and row.kit in rows:
                wrong.append(f"line {reader.line_num}: {row.kit} is there already")
            elif row is not None:
                rows[row.kit] = row
    except csv.Error as error:
        raise TableUnusable(f"line {reader.line_num}: {error}") from None
    if wrong or not rows or len(rows) > MOST:
        raise TableUnusable("; ".join(wrong[:20]) or f"expected 1 to {MOST} kits, found {len(rows)}")
    return list(rows.values())


def _row(values: dict[str | None, str | None], line: int, wrong: list[str]) -> Row | None:
    found = {str(key).strip(): (value or "").strip() for key, value in values.items() if key is not None}
    kit = found.get("kit", "")
    if None in values:
        wrong.append(f"line {line}: more values than columns")
    elif not valid_kit(kit) or "_" in kit or len(kit) > 63:
        wrong.append(f"line {line}: {kit[:40]!r} is no kit's name: letters, digits, '.' and '-', at most 63 of them")
    else:
        return Row(kit, found)
    return None
