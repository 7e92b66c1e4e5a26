"""`homeside users` and `homeside assign`: accounts made and unmade by whoever may read the relay's data folder.

There is no default password and no default account; the first admin is made here. A password is asked for on the
terminal, or read as one line from the input; it is never an option, which others could see.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from relay.accounts.passwords import Passwords
from relay.accounts.store import Account, AccountStore
from relay.auth import Role
from relay.db.engine import database_url, migrate, open_engine
from relay.errors import RelayError, SettingsError
from relay.logs import configure
from relay.settings import load

users_app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Who may sign in: add, list, disable, passwd.",
    epilog="Example:  homeside users add admin@example.org --role admin   makes the first account.",
)
assign_app = typer.Typer(add_completion=False)
T = TypeVar("T")

Data = Annotated[Path | None, typer.Option(help="The relay's data folder.")]
Config = Annotated[Path | None, typer.Option(help="The relay's settings as a TOML file.")]
Email = Annotated[str, typer.Argument(help="The e-mail address somebody signs in with.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@users_app.command()
def add(
    email: Email,
    role: Annotated[Role, typer.Option(help="patient, physiotherapist or admin.")],
    first_name: Annotated[str | None, typer.Option(help="Given name.")] = None,
    last_name: Annotated[str | None, typer.Option(help="Family name.")] = None,
    consent: Annotated[bool, typer.Option("--consent", help="The patient has agreed on paper to be recorded.")] = False,
    data: Data = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make an account. The password is asked for, or read from the input's first line.

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
    """Everybody who has an account.

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
    """End somebody's sign-ins and refuse new ones; what they recorded stays.

    Example: homeside users disable anna@example.org
    """
    _with_store(lambda store: store.set_disabled(email, not undo, _now()), data, config)
    typer.echo(f"{email} {'may sign in again' if undo else 'is disabled'}")


@users_app.command()
def passwd(email: Email, data: Data = None, config: Config = None) -> None:
    """Give somebody a new password, and end their sign-ins.

    Example: homeside users passwd anna@example.org
    """
    _with_store(lambda store: store.set_password(email, Passwords().hash(_password()), _now()), data, config)
    typer.echo(f"{email} has a new password")


@assign_app.command()
def assign(
    patient: Annotated[str, typer.Argument(help="The patient's e-mail address.")],
    physiotherapist: Annotated[str, typer.Argument(help="The physiotherapist's.")],
    end: Annotated[bool, typer.Option("--end", help="End it: the physiotherapist sees the patient no longer.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Make a patient a physiotherapist's, who then sees that patient's sessions.

    Example: homeside assign pat@example.org anna@example.org
    """
    _with_store(lambda store: store.assign(patient, physiotherapist, not end), data, config)
    typer.echo(f"{patient} is {'no longer' if end else 'now'} a patient of {physiotherapist}")


def _with_store(work: Callable[[AccountStore], Awaitable[T]], data: Path | None, config: Path | None) -> T:
    """Run `work` on the accounts of the relay with these settings; a RelayError ends the command with its text."""
    try:
        return asyncio.run(_opened(work, data, config))
    except RelayError as error:
        Console(stderr=True).print(f"[bold]homeside:[/bold] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None


async def _opened(work: Callable[[AccountStore], Awaitable[T]], data: Path | None, config: Path | None) -> T:
    settings = load(config, {"data": data} if data else {})
    configure("warning")
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = open_engine(database_url(settings.database_url, settings.data))
    try:
        await migrate(engine)
        return await work(AccountStore(engine))
    finally:
        await engine.dispose()


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
    table = Table("e-mail", "role", "name", "id", "patient or physiotherapist id", "may sign in")
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
