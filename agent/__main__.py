"""The commands `homeside agent`, `homeside doctor` and `homeside net-test`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from agent.app import build_sources, serve
from agent.doctor import examine, show
from agent.errors import AgentError, SettingsError
from agent.operations.configuration import Configuration
from agent.process.logs import configure
from agent.settings import AgentSettings, journal, load
from agent.sources.ble.radio import Radio
from agent.sources.port import Port

agent_app = typer.Typer(add_completion=False)
doctor_app = typer.Typer(add_completion=False)
net_test_app = typer.Typer(add_completion=False)
_errors = Console(stderr=True)


class Look(StrEnum):
    POSE = "pose"
    HANDS = "hands"


Serial = Annotated[str | None, typer.Option(help="Serial port of the sensor, such as /dev/ttyACM0.")]
Ble = Annotated[
    list[str] | None,
    typer.Option(
        help="A sensor over the air: its address, its name, or polar, movesense, homeside, …; again for more."
    ),
]
Camera = Annotated[
    str | None, typer.Option(help="Camera: pi, a number or /dev/video…, an rtsp:// address, a video file, or test.")
]
Broker = Annotated[str | None, typer.Option(help="The broker: mqtt://, mqtts://, ws:// or wss://host:port.")]
Kit = Annotated[str | None, typer.Option(help="This kit's name on the broker; the host's name when left out.")]
State = Annotated[Path | None, typer.Option(help="Folder of the outbox.")]
Config = Annotated[Path | None, typer.Option(help="Settings as a TOML file; docs/settings.md lists them.")]


@agent_app.command()
def agent(
    serial: Serial = None,
    ble: Ble = None,
    camera: Camera = None,
    look: Annotated[
        Look | None, typer.Option(help="What to look for from the start: pose or hands; else when told to.")
    ] = None,
    replay: Annotated[Path | None, typer.Option(help="Recording to send instead of a sensor's samples.")] = None,
    speed: Annotated[float | None, typer.Option(help="Seconds of the recording sent in one second (1).")] = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="Begin the recording, or the video file, again at its end.")
    ] = False,
    broker: Broker = None,
    kit: Kit = None,
    state: State = None,
    config: Config = None,
    keep_session: Annotated[
        bool, typer.Option("--keep-session", help="Leave the session open at exit; the next start goes on with it.")
    ] = False,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Read a sensor, keep every sample until the relay has it, and stream it over MQTT.

    Example: homeside agent --serial /dev/ttyACM0 --broker mqtt://relay.local:1883 --kit bedside-01
    """
    options = _given(serial=serial, ble=ble, broker=broker, kit=kit, state=state, log_level=log_level)
    if camera is not None:
        options.setdefault("source", {})["camera"] = _some(device=camera, loop=loop or None)
    if look is not None:
        options["vision"] = {"mode": look.value}
    if replay is not None:
        options.setdefault("source", {})["replay"] = _some(file=replay, speed=speed, loop=loop or None)
    if keep_session:
        options["session"] = {"keep": True}
    try:
        if replay is None and (speed is not None or (loop and camera is None)):
            raise SettingsError("--speed and --loop belong to --replay FILE, and --loop to --camera FILE as well")
        configuration = Configuration(load(config, options).state)
        settings = load(config, options, configuration.begin())
        configure(settings.log_level, journal())
        again = asyncio.run(serve(settings, configuration, lambda remote: _check(config, options, remote)))
    except AgentError as error:
        _errors.print(f"[bold]homeside agent:[/bold] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    if again:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  the very program that runs


def _check(config: Path | None, options: dict[str, Any], remote: dict[str, Any]) -> None:
    """Raise SettingsError if an agent could not be built from these remote settings."""
    build_sources(load(config, options, remote))


@doctor_app.command()
def doctor(
    serial: Serial = None,
    ble: Ble = None,
    broker: Broker = None,
    kit: Kit = None,
    state: State = None,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check settings, sensor, broker, clock, disk and outbox; say what is wrong, and what to do about it.

    Example: homeside doctor --config /etc/homeside/agent.toml
    """
    options = _given(serial=serial, ble=ble, broker=broker, kit=kit, state=state)
    try:
        settings: AgentSettings | SettingsError = load(config, options)
    except SettingsError as error:
        settings = error
    findings = asyncio.run(examine(settings, Port, Radio))
    show(findings, as_json=as_json)
    if any(finding.failed for finding in findings):
        raise typer.Exit(1)


@net_test_app.command()
def net_test(
    relay: Annotated[str | None, typer.Option(help="Base of the relay, http(s)://host:port.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with a token for it.")] = None,
    ice_server: Annotated[
        list[str] | None,
        typer.Option(help="A STUN or TURN server, as url or url,name,password; again for more."),
    ] = None,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Test which network paths video can take to the relay: direct, STUN, TURN over UDP, TCP and TLS.

    Example: homeside net-test --relay https://relay.example.org:8443
    """
    from agent.video.app import target_of
    from agent.video.net_test import climb, passable

    servers = [dict(zip(("url", "username", "password"), one.split(","), strict=False)) for one in ice_server or []]
    try:
        settings = load(config, {"video": _some(relay=relay, token_file=token_file, ice_servers=servers or None)})
        configure("error")
        rungs = asyncio.run(climb(target_of(settings)))
    except AgentError as error:
        _errors.print(f"[bold]homeside net-test:[/bold] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps([rung._asdict() for rung in rungs]))
    else:
        for rung in rungs:
            mark = {True: "yes", False: "NO", None: "-"}[rung.ok]
            typer.echo(f"{mark:4} {rung.name}: {rung.text}")
    if not passable(rungs):
        raise typer.Exit(1)


def _given(*, serial: str | None, ble: list[str] | None, broker: str | None, **plain: Any) -> dict[str, Any]:
    options = _some(**plain)
    if serial is not None:
        options["source"] = {"serial": {"port": serial}}
    if ble:
        options.setdefault("source", {})["ble"] = [{"device": device} for device in ble]
    if broker is not None:
        options["broker"] = {"url": broker}
    return options


def _some(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


if __name__ == "__main__":
    agent_app()
