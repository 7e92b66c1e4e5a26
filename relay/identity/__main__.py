"""`homeside claims` and `homeside kits`: kits' identities, for anybody who can read the relay's data folder.

The commands work on the database, whether or not the relay is running; a running relay notices within a second.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from relay.auth import Tokens, load_secret
from relay.clock import SystemClock
from relay.db.engine import database_url, migrate, open_engine
from relay.errors import RelayError, SettingsError
from relay.files import relays_folder, write_whole
from relay.identity.brokers import AUTHORITY, CRL, BrokerPlan, mosquitto, nats, nats_can_name
from relay.identity.invitations import invitation, invitation_toml, relay_address, show
from relay.identity.main import Identities, identities, server_certificate
from relay.identity.terminal import plain, print_records, state_of
from relay.process.logs import configure
from relay.settings import RelaySettings, load

claims_app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Invite kits: make, list, withdraw claims.",
    epilog="Example:  homeside claims make bedside-07   prints a code that bedside-07 may spend once, for a day.",
)
kits_app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Enrolled kits: list, revoke, audit, and the authority that signs for them.",
    epilog="Example:  homeside kits revoke bedside-07 --why stolen",
)
T = TypeVar("T")


class BrokerKind(StrEnum):
    MOSQUITTO = "mosquitto"
    NATS = "nats"


Work = Callable[[Identities, RelaySettings], Awaitable[T]]

Data = Annotated[Path | None, typer.Option(help="The relay's data folder.")]
Config = Annotated[Path | None, typer.Option(help="The relay's settings as a TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@claims_app.command("make")
def make(
    kits: Annotated[list[str], typer.Argument(help="Names of the kits, one claim each.")],
    hours: Annotated[float | None, typer.Option(help="Hours until the claim expires (24).")] = None,
    relay: Annotated[
        str,
        typer.Option(help="Address at which kits reach the relay; by default from the settings, else this machine's."),
    ] = "",
    files: Annotated[Path | None, typer.Option(help="Folder to write an invitation (TOML) for each kit into.")] = None,
    qr: Annotated[bool, typer.Option("--qr", help="Print a QR code for each.")] = False,
    data: Data = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a claim for each kit. The code is shown only now; the relay keeps just its digest.

    Example: homeside claims make bedside-07 bedside-08 --files invitations/
    """

    async def work(made: Identities, settings: RelaySettings) -> list[dict[str, Any]]:
        life = timedelta(hours=hours) if hours else None
        claims = await made.service.make_claims(kits, _operator(), life)
        where = relay or relay_address(settings)
        return [invitation(claim, code, where, made.authority.fingerprint) for claim, code in claims]

    invited = _with_identities(work, data, config)
    if files is not None:
        files.mkdir(parents=True, exist_ok=True, mode=0o700)
        for one in invited:
            write_whole(files / f"{one['kit']}.toml", invitation_toml(one).encode(), 0o600)
    if as_json:
        typer.echo(json.dumps(invited))
        return
    for one in invited:
        show(one, qr=qr)


@claims_app.command("list")
def list_claims(data: Data = None, config: Config = None, as_json: AsJson = False) -> None:
    """List claims, newest first, and what became of them.

    Example: homeside claims list --json
    """

    async def work(made: Identities, _: RelaySettings) -> list[dict[str, Any]]:
        now = made.service.now()
        return [{**plain(asdict(claim)), "state": state_of(claim, now)} for claim in await made.service.claims()]

    found = _with_identities(work, data, config)
    print_records(found, ("kit", "state", "made_at", "expires_at", "made_by", "id"), as_json=as_json)


@claims_app.command("revoke")
def withdraw(
    which: Annotated[str, typer.Argument(help="A claim's id, or a kit's name for all that are open for it.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Withdraw a claim that has not been used.

    Example: homeside claims revoke bedside-07
    """
    count = _with_identities(lambda made, _: made.service.withdraw(which, _operator()), data, config)
    typer.echo(f"{count} claim{'s' if count != 1 else ''} withdrawn")


@kits_app.command("list")
def list_kits(data: Data = None, config: Config = None, as_json: AsJson = False) -> None:
    """List enrolled kits with the expiry of their certificates, and revoked ones.

    Example: homeside kits list
    """

    async def work(made: Identities, _: RelaySettings) -> list[dict[str, Any]]:
        return [plain(asdict(kit)) for kit in await made.service.kits()]

    found = _with_identities(work, data, config)
    print_records(found, ("kit", "enrolled_at", "not_after", "revoked_at", "revoked_why"), as_json=as_json)


@kits_app.command("revoke")
def revoke(
    kit: Annotated[str, typer.Argument(help="The kit.")],
    why: Annotated[str, typer.Option(help="For the audit.")] = "",
    data: Data = None,
    config: Config = None,
) -> None:
    """End a kit's certificates, tokens and claims; a running relay drops it within a second or two.

    Example: homeside kits revoke bedside-07 --why stolen
    """
    known = _with_identities(lambda made, _: made.service.revoke(kit, why, _operator()), data, config)
    typer.echo(f"{kit} is revoked")
    if not known:
        typer.echo("No kit ever enrolled by that name. If another was meant: homeside kits list", err=True)


@kits_app.command("audit")
def audit(
    kit: Annotated[str | None, typer.Argument(help="Only this kit's.")] = None,
    most: Annotated[int, typer.Option(help="Lines at most.")] = 100,
    data: Data = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what happened to identities, newest first.

    Example: homeside kits audit bedside-07
    """

    async def work(made: Identities, _: RelaySettings) -> list[dict[str, Any]]:
        return [plain(asdict(entry)) for entry in await made.service.audit(kit, most)]

    print_records(
        _with_identities(work, data, config), ("at", "what", "kit", "who", "address", "detail"), as_json=as_json
    )


@kits_app.command("authority")
def authority(
    take_root_key: Annotated[
        Path | None, typer.Option(help="Move the root's key to this file; keep it offline, and safe.")
    ] = None,
    data: Data = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show the authority that signs for kits: fingerprint, expiry, and whether the root's key is still here.

    Example: homeside kits authority --take-root-key /media/safe/homeside-root.key
    """

    async def work(made: Identities, settings: RelaySettings) -> dict[str, Any]:
        key = settings.data / "authority" / "root.key"
        if take_root_key is not None:
            _move(key, take_root_key)
        root, issuer = made.authority.root, made.authority.issuer
        return {
            "fingerprint": made.authority.fingerprint,
            "root_until": root.not_valid_after_utc.isoformat(),
            "issuer_until": issuer.not_valid_after_utc.isoformat(),
            "root_key_here": key.exists(),
        }

    found = _with_identities(work, data, config)
    typer.echo(json.dumps(found) if as_json else "\n".join(f"{name}: {value}" for name, value in found.items()))


@kits_app.command("broker-config")
def broker_config(
    kind: Annotated[BrokerKind, typer.Argument(help="mosquitto or nats.")],
    out: Annotated[Path, typer.Option(help="Folder to write into; it holds secrets.")],
    port: Annotated[int, typer.Option(help="Port for kits.")] = 8883,
    relay_port: Annotated[int, typer.Option(help="Port for the relay, on loopback.")] = 1884,
    data: Data = None,
    config: Config = None,
) -> None:
    """Write the configuration for a separate mosquitto or NATS broker, and say what to set in the relay.

    Example: homeside kits broker-config mosquitto --out /etc/homeside/broker
    """

    async def work(made: Identities, settings: RelaySettings) -> list[str]:
        certificate, key = server_certificate(settings, made.authority)
        plan = BrokerPlan(out.resolve(), certificate.resolve(), key.resolve(), port, relay_port, secrets.token_hex(24))
        kits = await made.service.trusted_kits()
        named = [kit for kit in kits if nats_can_name(kit)]
        files = mosquitto(plan, os.urandom(12)) if kind is BrokerKind.MOSQUITTO else nats(plan, named)
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, text in files.items():
            write_whole(out / name, text.encode(), 0o600)
        write_whole(out / AUTHORITY, made.authority.issuer_pem + made.authority.root_pem, 0o644)
        write_whole(out / CRL, await made.service.revocations(), 0o644)
        url = (
            f"{'mqtt' if kind is BrokerKind.MOSQUITTO else 'nats'}://relay:{plan.relay_password}@127.0.0.1:{relay_port}"
        )
        write_whole(out / "relay.toml", _broker_settings(url, out.resolve()).encode(), 0o600)
        return [kit for kit in kits if kind is BrokerKind.NATS and kit not in named]

    left_out = _with_identities(work, data, config)
    typer.echo(
        f"Written to {out}. Add its relay.toml to the relay's settings, and start the broker with its .conf file."
    )
    if left_out:
        typer.echo(f"NATS cannot name kits with a dot; left out: {', '.join(left_out)}", err=True)


def _broker_settings(url: str, folder: Path) -> str:
    return (
        f"[mqtt]\nurl = {json.dumps(url)}\n\n[identity]\nbroker_files = {json.dumps(str(folder))}\n"
        '# broker_url = "mqtts://the broker\'s name:8883"\n# broker_pid = "/run/mosquitto/mosquitto.pid"\n'
    )


def _move(key: Path, to: Path) -> None:
    if not key.exists():
        raise SettingsError(f"{key} is not here")
    if to.exists():
        raise SettingsError(f"{to} exists; give a new file's name")
    write_whole(to, key.read_bytes(), 0o600)
    key.unlink()


def _with_identities(work: Work[T], data: Path | None, config: Path | None) -> T:
    """Run `work` on the identities of the relay with these settings; a RelayError ends the command with its message."""
    try:
        configure("warning")
        return asyncio.run(_opened(work, data, config))
    except RelayError as error:
        Console(stderr=True).print(f"[bold]homeside:[/bold] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None


async def _opened(work: Work[T], data: Path | None, config: Path | None) -> T:
    settings = load(config, {"data": data} if data else {})
    relays_folder(settings.data)
    engine = open_engine(database_url(settings.database_url, settings.data))
    try:
        await migrate(engine)
        tokens = Tokens(load_secret(settings.data / "secret"))
        return await work(await identities(settings, engine, tokens, SystemClock().now_ms), settings)
    finally:
        await engine.dispose()


def _operator() -> str:
    return f"command {getpass.getuser()}"
