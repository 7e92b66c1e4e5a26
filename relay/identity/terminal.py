"""Prints claims, kits and audit entries as lines of text or as JSON."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Column, Table

from relay.identity.store import Claim


def state_of(claim: Claim, now: datetime) -> str:
    if claim.spent_at is not None:
        return "spent"
    if claim.withdrawn_at is not None:
        return "withdrawn"
    return "expired" if claim.expires_at <= now else "open"


def plain(record: dict[str, Any]) -> dict[str, Any]:
    """The record with its times in ISO 8601."""
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in record.items()}


def print_records(records: list[dict[str, Any]], columns: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(records))
        return
    table = Table(*(Column(name.replace("_", " "), overflow="fold", no_wrap=name == "kit") for name in columns))
    for record in records:
        table.add_row(*(_shown(record[name]) for name in columns))
    Console().print(table)


def _shown(value: Any) -> str:
    """A value as text: times to the minute in UTC, None as an empty text."""
    if value is None:
        return ""
    text = str(value)
    return text[:16].replace("T", " ") if text.endswith("+00:00") else text
