"""`homeside patients`: all that is kept of one patient, given out as a file or erased, by the relay's operator."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.auth import load_secret
from relay.clock import SystemClock
from relay.db.command import with_database
from relay.physio.main import records_of, videos_of
from relay.physio.records.service import Erased, Records
from relay.settings import RelaySettings

patients_app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Export or erase all that is kept of a patient.",
    epilog="Example:  homeside patients export pat@example.org pat.zip",
)
T = TypeVar("T")

Email = Annotated[str, typer.Argument(help="The patient's e-mail address.")]
Data = Annotated[Path | None, typer.Option(help="The relay's data folder.")]
Config = Annotated[Path | None, typer.Option(help="The relay's settings as a TOML file.")]


@patients_app.command()
def export(
    email: Email,
    file: Annotated[Path, typer.Argument(help="The ZIP file to write; it must not exist.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Write profile, sessions, frames, videos, reviews and who saw them to a ZIP file.

    Example: homeside patients export pat@example.org pat.zip
    """
    if file.exists():
        raise typer.BadParameter(f"{file} is there already", param_hint="FILE")

    async def work(records: Records) -> None:
        with await records.export(None, await records.patient_of(email)) as made:
            await asyncio.to_thread(_copy, made, file)

    _with_records(work, data, config)
    typer.echo(f"{file} holds all that is kept of {email}")


@patients_app.command()
def erase(
    email: Email,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Erase a patient, the account and all that was recorded. Copies in backups are yours to erase.

    Example: homeside patients erase pat@example.org
    """
    if not yes:
        typer.confirm(f"Erase {email} and all that was recorded of them? This cannot be undone.", abort=True)

    async def work(records: Records) -> Erased:
        return await records.erase(None, await records.patient_of(email), email)

    gone = _with_records(work, data, config)
    typer.echo(f"{email} is erased, with {gone.sessions} sessions and {gone.videos} videos")


def _copy(made: BinaryIO, file: Path) -> None:
    with file.open("xb") as target:
        shutil.copyfileobj(made, target)


def _with_records(work: Callable[[Records], Awaitable[T]], data: Path | None, config: Path | None) -> T:
    async def opened(settings: RelaySettings, engine: AsyncEngine) -> T:
        clock = SystemClock()
        videos = videos_of(settings, engine, clock, load_secret(settings.data / "secret"))
        return await work(records_of(settings, engine, clock, videos))

    return with_database(opened, data, config)
