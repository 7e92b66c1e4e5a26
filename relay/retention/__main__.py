"""`homeside recordings`: what the policy of retention would do, and holds on single recordings."""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.clock import SystemClock
from relay.db.command import with_database
from relay.db.engine import unhurried
from relay.db.hypertables import convert
from relay.retention.main import retention_of
from relay.retention.store import RetentionStore
from relay.settings import RelaySettings

recordings_app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Recordings: what retention would do (due), holds (hold, release, held), and how they lie (hypertables).",
    epilog="Example:  homeside recordings due   shows what would be removed or thinned now.",
)
Data = Annotated[Path | None, typer.Option(help="The relay's data folder.")]
Config = Annotated[Path | None, typer.Option(help="The relay's settings as a TOML file.")]
Session = Annotated[str, typer.Argument(help="The recording's session id.")]
_out = Console(highlight=False, soft_wrap=True)


@recordings_app.command()
def due(data: Data = None, config: Config = None) -> None:
    """Show what the retention policy would do now to each recording, what it spares, and why.

    Example: homeside recordings due --data relay-data
    """

    async def work(settings: RelaySettings, engine: AsyncEngine) -> None:
        found = await retention_of(settings, engine, SystemClock().now_ms).due()
        for one, what in found:
            _out.print(f"{one.id}  {what.value}")
        _out.print(f"{len(found)} recordings are old enough for the policy to name them.")

    with_database(work, data, config)


@recordings_app.command()
def hold(
    session: Session,
    why: Annotated[str, typer.Option(help="Why it must be kept; shown beside it.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Keep a recording unchanged, whatever the policy says, until it is released.

    Example: homeside recordings hold 0b9a4a3e-52f1-4f0f-8a51-5f0f3e1a7c11 --why "complaint 2026-14"
    """
    _with_store(lambda store: store.hold(session.lower(), getpass.getuser(), why, SystemClock().now_ms()), data, config)
    _out.print(f"{session} is held: {why}")


@recordings_app.command()
def release(session: Session, data: Data = None, config: Config = None) -> None:
    """End a hold.

    Example: homeside recordings release 0b9a4a3e-52f1-4f0f-8a51-5f0f3e1a7c11
    """
    if not _with_store(lambda store: store.release(session.lower()), data, config):
        _out.print(f"{session} was not held.")
        raise typer.Exit(1)
    _out.print(f"{session} is held no more.")


@recordings_app.command()
def held(data: Data = None, config: Config = None) -> None:
    """List recordings that are held, by whom and why.

    Example: homeside recordings held
    """
    for one in _with_store(lambda store: store.holds(), data, config):
        _out.print(f"{one['session_id']}  {one['who']}: {one['why']}")


@recordings_app.command(name="hypertables")
def lay_in_hypertables(data: Data = None, config: Config = None) -> None:
    """Copy all samples into a hypertable, where PostgreSQL has TimescaleDB; needs as much disk again while it runs.

    A database without samples needs no such command. Kits and viewers wait until it is done; nothing is lost.

    Example: homeside recordings hypertables --config /etc/homeside/relay.toml
    """

    def tell(table: str, number: int, of: int) -> None:
        _out.print(f"{number} of {of}: {table}")

    async def work(_: RelaySettings, engine: AsyncEngine) -> int:
        async with unhurried(engine) as waiting, waiting.begin() as connection:
            return await connection.run_sync(convert, tell)

    _out.print(f"{with_database(work, data, config)} chunks copied. Samples lie in a hypertable now.")


def _with_store(work: Callable[[RetentionStore], Awaitable[Any]], data: Path | None, config: Path | None) -> Any:
    async def opened(_: RelaySettings, engine: AsyncEngine) -> Any:
        return await work(RetentionStore(engine))

    return with_database(opened, data, config)
