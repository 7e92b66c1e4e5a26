"""`homeside fleet`: from a terminal or a script, what an operator can do on the fleet page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from relay.auth import Principal, Role, Tokens, load_secret
from relay.errors import Full, NotAllowed, NotFound, RelayError, Unauthorized
from relay.fleet.rules import Standing
from relay.fleet.terminal import Client, at
from relay.settings import load

ANSWER_WITHIN_S = 30.0
fleet_app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Kits: list, show, tag, config, diagnose, publish, update, sbom.",
    epilog="Example:  homeside fleet list --tag 'ward 3'   shows the kits of a ward.",
)
Kit = Annotated[str, typer.Argument(help="The kit's name.")]
Url = Annotated[str, typer.Option(help="Where the relay is.")]
Token = Annotated[str, typer.Option("--token", help="An admin's token; empty makes one from the data folder.")]
Data = Annotated[Path | None, typer.Option(help="The relay's data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
COLUMNS = ("kit", "state", "version", "sensor", "battery", "clock", "backlog", "temp.", "last heard", "tags")
WIDE, NARROW = 120, frozenset({"kit", "state", "version", "last heard"})
"""The table's columns when the terminal is narrower than WIDE characters; --json always has everything."""
HERE = "http://127.0.0.1:8000"


@fleet_app.command("list")
def listing(
    query: Annotated[str, typer.Argument(help="Words in a kit's name, tags, version or sensor.")] = "",
    tag: Annotated[str, typer.Option(help="Only kits with this tag.")] = "",
    standing: Annotated[Standing | None, typer.Option(help="live, attention, away or new.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=20_000, help="Kits at most.")] = 1000,
    url: Url = HERE,
    token: Token = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List kits, those that need attention first.

    Example: homeside fleet list --standing attention
    """
    with _relay(url, token, data) as relay:
        asked = f"/kits?limit={limit}&q={_quoted(query)}&tag={_quoted(tag)}"
        found = relay.ask(asked + (f"&standing={standing.value}" if standing else ""))
    if as_json:
        typer.echo(json.dumps(found))
        return
    console, table = Console(), Table()
    shown = [name for name in COLUMNS if console.width >= WIDE or name in NARROW]
    for name in shown:
        table.add_column(name, no_wrap=name == "kit")
    for kit in found["kits"]:
        row = dict(zip(COLUMNS, _row(kit, found["summary"]["nowMs"]), strict=True))
        table.add_row(*(row[name] for name in shown))
    console.print(table)
    numbers = found["summary"]
    typer.echo(", ".join(f"{numbers[one.value]} {one.value}" for one in Standing) + f" of {numbers['kits']} kits")


@fleet_app.command()
def show(kit: Kit, url: Url = HERE, token: Token = "", data: Data = None, as_json: AsJson = False) -> None:
    """Show one kit: its state, its remote settings, and who asked what of it.

    Example: homeside fleet show home-031
    """
    with _relay(url, token, data) as relay:
        found = relay.ask(at("kits", kit))
    if as_json:
        typer.echo(json.dumps(found))
        return
    for key, value in found["kit"].items():
        typer.echo(f"{key:>16}  {value if not isinstance(value, dict | list) else json.dumps(value)}")
    typer.echo(f"{'settings':>16}  {json.dumps(found['settings'])}")
    for deed in found["deeds"][:10]:
        typer.echo(f"{_moment(deed['at_ms']):>16}  {deed['who']}: {deed['action']} {deed['detail']}")


@fleet_app.command()
def tag(
    kit: Kit,
    add: Annotated[list[str] | None, typer.Option("--add", help="A tag to add; may be given again.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="A tag to remove.")] = None,
    url: Url = HERE,
    token: Token = "",
    data: Data = None,
) -> None:
    """Add or remove tags, by which kits are found and rollouts staged.

    Example: homeside fleet tag home-031 --add pilot --add 'ward 3'
    """
    with _relay(url, token, data) as relay:
        found = relay.ask(at("kits", kit, "tags"), "POST", {"add": add or [], "remove": remove or []})
    typer.echo(", ".join(found["tags"]) or "no tags")


@fleet_app.command()
def config(
    kit: Kit,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="key=value; docs/settings.md has the keys.")
    ] = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", help="A key to give back to the kit's own file.")
    ] = None,
    url: Url = HERE,
    token: Token = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show or change a kit's settings. The kit goes back by itself if the new ones cut it off from the relay.

    Example: homeside fleet config home-031 --set source.serial.rate_hz=200
    """
    with _relay(url, token, data) as relay:
        found = relay.ask(at("kits", kit))
        settings = dict(found["settings"])
        if setting or unset:
            settings |= dict(_pair(text) for text in setting or [])
            settings = {key: value for key, value in settings.items() if key not in set(unset or [])}
            body = {"settings": settings, "expected_version": found["kit"]["desired"] or 0}
            made = relay.ask(at("kits", kit, "configuration"), "PUT", body)
            found["kit"]["desired"], found["settings"] = made["version"], made["settings"]
    told = found["kit"].get("configuration")
    if as_json:
        typer.echo(json.dumps({"settings": found["settings"], "version": found["kit"]["desired"], "kit": told}))
        return
    for key, value in found["settings"].items():
        typer.echo(f"{key} = {json.dumps(value)}")
    typer.echo(f"version {found['kit']['desired'] or 0}; the kit says: {json.dumps(told) if told else 'nothing yet'}")


@fleet_app.command()
def diagnose(kit: Kit, url: Url = HERE, token: Token = "", data: Data = None) -> None:
    """Ask a kit for a diagnostic report and print it as JSON. It holds no samples and no sessions.

    Example: homeside fleet diagnose home-031 > home-031.json
    """
    with _relay(url, token, data) as relay:
        request = relay.ask(at("kits", kit, "diagnostics"), "POST")["request"]
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while time.monotonic() < deadline:
            try:
                typer.echo(json.dumps(relay.ask(at("kits", kit, "diagnostics") + f"?request={request}"), indent=1))
            except NotFound:
                time.sleep(0.3)
            else:
                return
        raise Full(f"{kit} has sent no report within {ANSWER_WITHIN_S:.0f} s; it sends it when it can.")


@fleet_app.command()
def publish(
    bundle: Annotated[Path, typer.Argument(help="A signed bundle.", exists=True, dir_okay=False)],
    url: Url = HERE,
    token: Token = "",
    data: Data = None,
) -> None:
    """Upload a signed bundle to the relay. No kit fetches it before `fleet update`.

    Example: homeside fleet publish homeside-1.4.2.tar
    """
    with _relay(url, token, data) as relay:
        made = relay.upload("/releases", bundle)
    typer.echo(f"homeside {made['version']} for {made['machine'] or 'any machine'}, {made['size'] >> 20} MiB")


@fleet_app.command()
def update(
    version: Annotated[str | None, typer.Argument(help="The release; without it, show how rollouts are going.")] = None,
    tag: Annotated[str, typer.Option(help="Only kits with this tag.")] = "",
    percent: Annotated[float, typer.Option(min=0.001, max=100, help="Share of them; widen it step by step.")] = 100.0,
    most_failed: Annotated[float, typer.Option(min=0, max=100, help="Percent that may fail before it halts.")] = 5.0,
    pause: Annotated[int | None, typer.Option(help="Pause the rollout of this number.")] = None,
    url: Url = HERE,
    token: Token = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Roll out a release to some kits, widen or pause a rollout, or show how rollouts are going.

    Example: homeside fleet update 1.4.2 --tag pilot --percent 10
    """
    with _relay(url, token, data) as relay:
        if pause is not None:
            relay.ask(at("rollouts", str(pause), "pause"), "POST")
        if version is not None:
            body = {"version": version, "tag": tag, "percent": percent, "most_failed": most_failed}
            relay.ask("/rollouts", "POST", body)
        found = relay.ask("/rollouts")["rollouts"]
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table("no.", "release", "to", "state", "kits", "done", "waiting", "failed", "")
    for one in found:
        went = one["progress"]
        to = f"{one['percent']:g} % of {one['tag'] or 'all'}"
        numbers = [str(went[key]) for key in ("members", "done", "waiting", "failed")]
        table.add_row(str(one["id"]), one["version"], to, one["state"], *numbers, one.get("reason", ""))
    Console().print(table)


@fleet_app.command()
def sbom(
    package: Annotated[str, typer.Argument(help="A package, as PyPI calls it.")],
    url: Url = HERE,
    token: Token = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List every kit that runs a package, and the version.

    Example: homeside fleet sbom cryptography
    """
    with _relay(url, token, data) as relay:
        found = relay.ask(at("packages", package))
    if as_json:
        typer.echo(json.dumps(found))
        return
    for kit in found["kits"]:
        typer.echo(f"{kit['name']}  {kit['version']}" + ("" if kit["online"] else "  (away)"))
    typer.echo(f"{len(found['kits'])} kits run {found['package']}; of {found['unknown']} it is not known", err=True)


@contextmanager
def _relay(url: str, token: str, data: Path | None) -> Iterator[Client]:
    """An API client with a token; a RelayError ends the command with its message."""
    try:
        yield Client(url, token or _own_token(data))
    except RelayError as error:
        Console(stderr=True).print(
            f"[bold]homeside fleet:[/bold] {escape(str(error))}", highlight=False, soft_wrap=True
        )
        raise typer.Exit(2) from None


def _own_token(data: Path | None) -> str:
    path = load(None, {"data": data} if data else {}).data / "secret"
    if not path.is_file():
        raise Unauthorized(f"{path.parent} is no relay's data folder. Give --data or --token.")
    who = Principal(subject="operator", role=Role.ADMIN)
    return Tokens(load_secret(path)).issue(who, now_s=time.time(), lifetime_s=3600)


def _row(kit: dict[str, Any], now_ms: int) -> list[str]:
    def shown(key: str, unit: str, digits: int = 0) -> str:
        return f"{kit[key]:.{digits}f} {unit}" if kit.get(key) is not None else "–"

    state = "; ".join(kit["problems"]) or kit["standing"]
    seen = "now" if kit["standing"] in ("live", "attention") else _moment(kit["seenMs"]) if kit["seenMs"] else "never"
    measured = [shown("battery", "%"), shown("clockErrorMs", "ms", 1), str(kit.get("backlog", 0))]
    said = [kit.get("version", ""), kit.get("sensor", "")]
    return [kit["name"], state, *said, *measured, shown("temperature", "°C"), seen, ", ".join(kit["tags"])]


def _moment(ms: float) -> str:
    return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise NotAllowed(f"{text!r}: expected key=value, such as source.serial.rate_hz=200.")
    try:
        return key.strip(), json.loads(value)
    except ValueError:
        return key.strip(), value


def _quoted(text: str) -> str:
    return at(text)[1:]


if __name__ == "__main__":
    fleet_app()
