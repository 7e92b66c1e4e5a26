"""`homeside users`, `assign` and `patients`: accounts and patients, for anybody who can read the data folder.

There is no default password and no default account; the first admin is created here. A password is asked for on the
terminal or read as one line from standard input. It is never an option, which others could see.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar

import typer
from rich.console import Console
from rich.table import Column, Table
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.accounts.passwords import Passwords
from relay.accounts.store import Account, AccountStore
from relay.auth import Role, load_secret
from relay.clock import SystemClock
from relay.db.command import with_database
from relay.errors import SettingsError
from relay.files import copy_new
from relay.physio.main import records_of, videos_of
from relay.physio.records.service import Erased, Records
from relay.settings import RelaySettings

users_app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Manage the accounts that may sign in.",
    epilog="Example:  homeside users add admin@example.org --role admin   makes the first account.",
)
assign_app = typer.Typer(add_completion=False)
patients_app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Export or erase everything stored about a patient.",
    epilog="Example:  homeside patients export pat@example.org pat.zip",
)
T = TypeVar("T")

Data = Annotated[Path | None, typer.Option(help="The relay's data folder.")]
Config = Annotated[Path | None, typer.Option(help="The relay's settings as a TOML file.")]
Email = Annotated[str, typer.Argument(help="The e-mail address somebody signs in with.")]
Patient = Annotated[str, typer.Argument(help="The patient's e-mail address.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@users_app.command()
def add(
    email: Email,
    role: Annotated[Role, typer.Option(help="patient, physiotherapist or admin.", metavar="<role>")],
    first_name: Annotated[str | None, typer.Option(help="Given name.")] = None,
    last_name: Annotated[str | None, typer.Option(help="Family name.")] = None,
    consent: Annotated[bool, typer.Option("--consent", help="The patient has agreed on paper to be recorded.")] = False,
    data: Data = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Create an account. Asks for the password, or reads it from the first line of standard input.

    Example: homeside users add anna@example.org --role physiotherapist --first-name Anna
    """
    if role not in (Role.PATIENT, Role.PHYSIOTHERAPIST, Role.ADMIN):
        raise typer.BadParameter("an account is a patient's, a physiotherapist's or an admin's", param_hint="--role")
    if "@" not in email.strip("@"):
        raise typer.BadParameter("expected an e-mail address", param_hint="EMAIL")

    async def work(store: AccountStore) -> Account:
        person = {"first_name": first_name, "last_name": last_name, "consent_at": _now() if consent else None}
        return await store.add(email, Passwords().hash(_password()), role, **person)

    made = _with_store(work, data, config)
    _print([made], as_json=as_json)


@users_app.command("list")
def listing(data: Data = None, config: Config = None, as_json: AsJson = False) -> None:
    """List all accounts.

    Example: homeside users list --json
    """
    _print(_with_store(lambda store: store.every(), data, config), as_json=as_json)


@users_app.command()
def disable(
    email: Email,
    undo: Annotated[bool, typer.Option("--undo", help="Let them sign in again.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Sign somebody out everywhere and refuse new sign-ins. What they recorded stays.

    Example: homeside users disable anna@example.org
    """
    _with_store(lambda store: store.set_disabled(email, not undo, _now()), data, config)
    typer.echo(f"{email} {'may sign in again' if undo else 'is disabled'}")


@users_app.command()
def passwd(email: Email, data: Data = None, config: Config = None) -> None:
    """Set a new password and sign the person out everywhere.

    Example: homeside users passwd anna@example.org
    """
    _with_store(lambda store: store.set_password(email, Passwords().hash(_password()), _now()), data, config)
    typer.echo(f"{email} has a new password")


@assign_app.command()
def assign(
    patient: Annotated[str, typer.Argument(help="The patient's e-mail address.")],
    physiotherapist: Annotated[str, typer.Argument(help="The physiotherapist's.")],
    end: Annotated[
        bool, typer.Option("--end", help="End the assignment: the physiotherapist no longer sees the patient.")
    ] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Assign a patient to a physiotherapist, who then sees that patient's sessions.

    Example: homeside assign pat@example.org anna@example.org
    """
    _with_store(lambda store: store.assign(patient, physiotherapist, not end), data, config)
    typer.echo(f"{patient} is {'no longer' if end else 'now'} a patient of {physiotherapist}")


@patients_app.command()
def export(
    email: Patient,
    file: Annotated[Path, typer.Argument(help="The ZIP file to write; it must not exist.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Write a patient's profile, sessions, frames, videos, reviews and access log to a ZIP file.

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
    email: Patient,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Erase a patient's account and everything recorded. Copies in backups are for you to erase.

    Example: homeside patients erase pat@example.org
    """
    if not yes:
        typer.confirm(f"Erase {email} and all that was recorded of them? This cannot be undone.", abort=True)

    async def work(records: Records) -> Erased:
        return await records.erase(None, await records.patient_of(email), email)

    gone = _with_records(work, data, config)
    typer.echo(f"{email} is erased, with {gone.sessions} sessions and {gone.videos} videos")


def _copy(made: BinaryIO, file: Path) -> None:
    """Write the file completely or not at all, readable by its owner only: it holds health data."""
    try:
        copy_new(file, made, 0o600)
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error.strerror}") from None


def _with_records(work: Callable[[Records], Awaitable[T]], data: Path | None, config: Path | None) -> T:
    async def opened(settings: RelaySettings, engine: AsyncEngine) -> T:
        clock = SystemClock()
        videos = videos_of(settings, engine, clock, load_secret(settings.data / "secret"))
        return await work(records_of(settings, engine, clock, videos))

    return with_database(opened, data, config)


def _with_store(work: Callable[[AccountStore], Awaitable[T]], data: Path | None, config: Path | None) -> T:
    return with_database(lambda _, engine: work(AccountStore(engine)), data, config)


def _password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise SettingsError("no password on the input; type it, or pipe it in as one line")
    return line


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


def _print(accounts: list[Account], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_shown(account) for account in accounts]))
        return
    names = ("e-mail", "role", "name", "id", "patient or physiotherapist id", "may sign in")
    table = Table(*(Column(name, overflow="fold") for name in names))
    for account in accounts:
        theirs = account.patient_id or account.physiotherapist_id or ""
        standing = "no" if account.disabled else "yes"
        table.add_row(account.email, account.role.value, account.name, account.id, theirs, standing)
    Console().print(table)


def _shown(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "email": account.email,
        "role": account.role.value,
        "first_name": account.first_name,
        "last_name": account.last_name,
        "patient_id": account.patient_id,
        "physiotherapist_id": account.physiotherapist_id,
        "disabled": account.disabled,
    }
