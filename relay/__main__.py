"""`homeside relay`, `homeside token` and `homeside timers`: turns options into a running relay, a token, or printed
lines.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console
from rich.markup import escape

from relay.auth import Principal, Role, Tokens, load_secret
from relay.cluster.trial import Trial
from relay.entrance.tls import lan_addresses
from relay.errors import RelayError, SettingsError
from relay.files import made_folder
from relay.main import Relay
from relay.process.collector import Collector
from relay.process.logs import configure
from relay.process.supervisor import supervise
from relay.settings import RelaySettings, journal, load

relay_app = typer.Typer(add_completion=False)
token_app = typer.Typer(add_completion=False)
timers_app = typer.Typer(add_completion=False)
_console = Console(stderr=True)
MOST_HOURS = 24 * 3660

Data = Annotated[Path | None, typer.Option(help="Folder of the database, the secret and the certificate.")]
Config = Annotated[Path | None, typer.Option(help="Settings as a TOML file; docs/settings.md lists them.")]


@relay_app.command()
def relay(
    data: Data = None,
    config: Config = None,
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on; beyond loopback, clients need a token."),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port of OpenSCG and the pages (8000).")] = None,
    care_port: Annotated[int | None, typer.Option(help="Port of physiotherapy and timers (3000).")] = None,
    signs_port: Annotated[int | None, typer.Option(help="Port of sign detection (8001).")] = None,
    translate_port: Annotated[int | None, typer.Option(help="Port of sign translation (8002).")] = None,
    mqtt_port: Annotated[int | None, typer.Option(help="Port of the broker inside the relay (1883).")] = None,
    tls: Annotated[
        bool, typer.Option("--tls", help="Also serve everything on one TLS port (8443) for phones.")
    ] = False,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Try a cluster here: three NATS servers, three relays, a PostgreSQL.")
    ] = False,
) -> None:
    """Run the relay: take in samples from kits and phones, and serve the APIs and pages.

    Example: homeside relay --data /var/lib/homeside --tls
    """
    given: dict[str, Any] = {"data": data, "host": host, "log_level": log_level}
    given = {key: value for key, value in given.items() if value is not None}
    ports = {"scg": port, "care": care_port, "signs": signs_port, "translate": translate_port}
    if chosen := {key: value for key, value in ports.items() if value is not None}:
        given["ports"] = chosen
    if mqtt_port is not None:
        given["mqtt"] = {"port": mqtt_port}
    if tls:
        given["tls"] = {"enabled": True}
    try:
        settings = load(config, given)
        configure(settings.log_level, journal())
        if cluster:
            _try_cluster(settings)
            return
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings))
    except RelayError as error:
        _console.print(f"[bold]homeside relay:[/bold] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None


def _try_cluster(settings: RelaySettings) -> None:
    ports = {"port": settings.ports.scg, "care_port": settings.ports.care, "mqtt_port": settings.mqtt.port}
    made_folder(settings.data)

    async def keep() -> None:
        await Trial(settings.data.resolve(), **ports).run()

    asyncio.run(keep())


async def _serve(settings: RelaySettings) -> None:
    running, collector = Relay(settings), Collector()
    serving = asyncio.create_task(running.run())
    ready = asyncio.create_task(running.ready.wait())
    await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        _welcome(running)
    ready.cancel()
    with collector.policy():
        walking = asyncio.create_task(supervise("collector", collector.run))
        await serving
        walking.cancel()


def _welcome(running: Relay) -> None:
    _console.print(f"Homeside relay: pages and OpenSCG at {running.addresses['scg']}", highlight=False)
    if running.settings.tls.enabled and _console.is_terminal:  # a journal keeps no tokens
        _invite_phone(running)


def _invite_phone(running: Relay) -> None:
    import segno

    settings = running.settings
    port = running.addresses["tls"].rsplit(":", 1)[1]
    base = settings.public_url or f"https://{lan_addresses()[0]}:{port}"
    tokens = Tokens(load_secret(settings.data / "secret"))
    who = Principal(subject="phone", role=Role.PATIENT)
    token = tokens.issue(who, now_s=time.time(), lifetime_s=settings.link_hours * 3600)
    link = f"{base}/measure?token={token}"
    _console.print("Scan to measure with a phone (accept the relay's own certificate once):")
    segno.make(link, error="l").terminal(compact=True)
    _console.print(link, soft_wrap=True, highlight=False)


@token_app.command()
def token(
    role: Annotated[Role, typer.Option(help="What the bearer may do.")],
    name: Annotated[str, typer.Option(help="Who it is for; a kit's token bears the kit's name.")] = "operator",
    session: Annotated[str | None, typer.Option(help="Bind it to one session.")] = None,
    hours: Annotated[float, typer.Option(help="Hours until it expires.")] = 24.0,
    data: Data = None,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print an object instead of the bare token.")] = False,
) -> None:
    """Print a token signed with this relay's secret.

    Example: homeside token --role kit --name bedside-07 --hours 2160
    """
    if not 0 < hours <= MOST_HOURS:
        raise typer.BadParameter(f"expected more than 0 and at most {MOST_HOURS}", param_hint="--hours")
    try:
        tokens = _tokens(load(config, {"data": data} if data else {}))
    except RelayError as error:
        _console.print(f"[bold]homeside token:[/bold] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    bearer = Principal(subject=name, role=role, session=session)
    signed = tokens.issue(bearer, now_s=time.time(), lifetime_s=hours * 3600)
    expires = int(time.time() + hours * 3600)
    typer.echo(json.dumps({"token": signed, "role": role.value, "expires": expires}) if as_json else signed)


@timers_app.command()
def timers(
    session: Annotated[str | None, typer.Argument(help="Watch this one; without it, list those changed last.")] = None,
    url: Annotated[str, typer.Option(help="Where the relay's timers are.")] = "http://127.0.0.1:3000",
    bearer: Annotated[str, typer.Option("--token", help="A token; empty makes one from the data folder.")] = "",
    data: Data = None,
    config: Config = None,
) -> None:
    """List timer sessions, or watch one: a line for each thing that happens, until Ctrl-C.

    Example: homeside timers knee-exercises
    """
    from relay.timers import terminal

    try:
        bearer = bearer or _own_token(load(config, {"data": data} if data else {}))
        for line in terminal.watch(url, session, bearer) if session else terminal.listing(url, bearer):
            typer.echo(line)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    except RelayError as error:
        _console.print(f"[bold]homeside timers:[/bold] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None


def _own_token(settings: RelaySettings) -> str:
    who = Principal(subject="operator", role=Role.ADMIN)
    return _tokens(settings).issue(who, now_s=time.time(), lifetime_s=24 * 3600)


def _tokens(settings: RelaySettings) -> Tokens:
    """Tokens signed with this relay's secret. It must exist already: no relay would accept one made here."""
    path = settings.data / "secret"
    if not path.is_file():
        raise SettingsError(
            f"{settings.data} is no relay's data folder: start the relay once, or give its folder (--data)"
        )
    return Tokens(load_secret(path))


if __name__ == "__main__":
    relay_app()
