"""Database access for commands: read the settings, migrate, do one piece of work, close; errors become messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.db.engine import database_url, migrate, open_engine
from relay.errors import RelayError
from relay.files import relays_folder
from relay.process.logs import configure
from relay.settings import RelaySettings, load

T = TypeVar("T")
Work = Callable[[RelaySettings, AsyncEngine], Awaitable[T]]


def with_database(work: Work[T], data: Path | None, config: Path | None) -> T:
    """Run `work` on the database of the relay with these settings.

    A RelayError ends the command with its text and exit code 2.
    """
    try:
        return asyncio.run(_opened(work, data, config))
    except RelayError as error:
        Console(stderr=True).print(f"[bold]homeside:[/bold] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None


async def _opened(work: Work[T], data: Path | None, config: Path | None) -> T:
    settings = load(config, {"data": data} if data else {})
    configure("warning")
    relays_folder(settings.data)
    engine = open_engine(database_url(settings.database_url, settings.data))
    try:
        await migrate(engine)
        return await work(settings, engine)
    finally:
        await engine.dispose()
