"""The commands `homeside sensors scan | test | stream | config | update`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress import Progress
from rich.table import Table
from serial.tools import list_ports

from agent.errors import AgentError, CommandRefused, SettingsError
from agent.process.logs import configure
from agent.sections import Ble, Serial
from agent.sensors.firmware import Image, Updater, Way
from agent.sensors.meter import Meter
from agent.sensors.paired import Paired
from agent.sensors.plot import screen
from agent.sensors.reading import read_for
from agent.sensors.smp_link import LinkTransport
from agent.sources import EcgReading, Source
from agent.sources.ble.adapter import power_cycle
from agent.sources.ble.radio import Radio, Seen
from agent.sources.ble.source import BleSource
from agent.sources.port import Port
from agent.sources.serial import SerialSource

sensors_app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Find, test, watch, configure and update sensors.",
    epilog="Example: homeside sensors test polar",
)
_out, _errors = Console(), Console(stderr=True)

Where = Annotated[str, typer.Argument(help="Serial port, or over the air an address, a name or a family.")]
Dialect = Annotated[str, typer.Option(help="What a serial sensor speaks: homeside, slip, witmotion, csv, …")]
Baud = Annotated[int, typer.Option(help="Bits a second of a serial port.")]
Adapter = Annotated[str | None, typer.Option(help="Bluetooth adapter, such as hci1.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Seconds = Annotated[float, typer.Option("--for", min=0.5, help="Seconds.")]
Rate = Annotated[float | None, typer.Option(help="Rate to set, Hz.")]
Range = Annotated[float | None, typer.Option("--range", help="Range to set, g.")]


@sensors_app.command()
def scan(
    seconds: Seconds = 5.0,
    adapter: Adapter = None,
    everything: Annotated[bool, typer.Option("--everything", help="Also list devices of unknown families.")] = False,
    as_json: AsJson = False,
) -> None:
    """List sensors within Bluetooth range, and serial ports.

    Example: homeside sensors scan --for 8
    """
    ports = [(port.device, port.description) for port in list_ports.comports()]
    seen = _run(_radio(adapter).scan(seconds), or_else=[] if ports else None)
    show_scan([one for one in seen if everything or one.family is not None], ports, as_json=as_json)


@sensors_app.command("test")
def examine(
    where: Where,
    seconds: Seconds = 5.0,
    rate: Rate = None,
    range_g: Range = None,
    dialect: Dialect = "homeside",
    baud: Baud = 115_200,
    adapter: Adapter = None,
    as_json: AsJson = False,
) -> None:
    """Read a sensor, lying still or worn, and check its rate, clock, losses and gravity.

    Example: homeside sensors test polar
    """
    meter = Meter()
    opened = partial(source_for, where, rate, range_g, dialect, baud, adapter)
    _run(_read(opened, meter, seconds))
    findings = meter.findings()
    if as_json:
        print(json.dumps({"where": where, "sound": not findings, "findings": findings, **meter.figures()}))
    else:
        show_figures(where, meter, findings)
    if findings:
        raise typer.Exit(1)


@sensors_app.command()
def stream(
    where: Where,
    seconds: Seconds = 86_400.0,
    rate: Rate = None,
    range_g: Range = None,
    dialect: Dialect = "homeside",
    baud: Baud = 115_200,
    adapter: Adapter = None,
    ecg: Annotated[bool, typer.Option("--ecg", help="The electrocardiogram as well (Polar H10).")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch a sensor: a live chart with rate, jitter, loss and clock error; with --json a line a second.

    With --ecg --json a line holds, beside the figures, all samples of both since the line before, on one clock.

    Example: homeside sensors stream /dev/ttyACM0
    """
    opened = partial(source_for, where, rate, range_g, dialect, baud, adapter)
    try:
        _run(watch(opened, where, seconds, as_json=as_json, ecg=ecg))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@sensors_app.command()
def config(
    where: Where,
    rate: Rate = None,
    range_g: Range = None,
    dialect: Dialect = "homeside",
    baud: Baud = 115_200,
    adapter: Adapter = None,
    as_json: AsJson = False,
) -> None:
    """Configure a sensor; without options, show its settings. Bluetooth families are configured by source.ble instead.

    Example: homeside sensors config /dev/ttyACM0 --rate 200 --range 4
    """
    meter = Meter()
    _run(_read(partial(source_for, where, rate, range_g, dialect, baud, adapter), meter, 1.5))
    info = meter.figures()
    if as_json:
        print(json.dumps({key: info[key] for key in ("name", "kind", "rateHz", "rangeG", "measuredHz")}))
    else:
        _out.print(f"{info['name']} ({info['kind']}): {info['rateHz']:g} Hz, ± {info['rangeG']:g} g")
    wanted = ((rate, info["rateHz"], "Hz"), (range_g, info["rangeG"], "g"))
    refused = [f"{asked:g} {unit}" for asked, is_set, unit in wanted if asked is not None and is_far(asked, is_set)]
    if refused:
        _errors.print(f"it was not set to {', '.join(refused)}: it has none near that")
        raise typer.Exit(1)


@sensors_app.command()
def update(
    where: Where,
    image: Annotated[
        Path | None, typer.Argument(help="Signed image for MCUboot; without it the images are listed.")
    ] = None,
    confirm: Annotated[bool, typer.Option("--confirm", help="Keep the image that runs, which is on trial.")] = False,
    no_reset: Annotated[bool, typer.Option("--no-reset", help="Only upload, and mark for trial.")] = False,
    baud: Baud = 115_200,
    adapter: Adapter = None,
    as_json: AsJson = False,
) -> None:
    """Update a sensor's firmware (MCUmgr SMP, MCUboot): upload, try, restart, and keep what came up.

    An image that does not come up again is not kept: MCUboot goes back to the one before at the next restart.

    Example: homeside sensors update homeside-chest firmware.signed.bin
    """
    way = way_to(where, baud, adapter)
    slots: list[Image]
    with Progress(console=_errors, disable=as_json) as progress:
        bar = progress.add_task("upload", total=1.0)
        updater = Updater(way, lambda share: progress.update(bar, completed=share))
        if confirm:
            slots = _run(updater.confirm())
        elif image is None:
            slots = _run(updater.images())
        else:
            slots = _run(updater.update(_read_image(image), reset=not no_reset))
    show_images(slots, as_json=as_json)


def source_for(
    where: str,
    rate_hz: float | None,
    range_g: float | None,
    dialect: str,
    baud: int,
    adapter: str | None,
    ecg: Callable[[EcgReading], None] | None = None,
) -> Source:
    """The source for a serial port or a Bluetooth sensor. SettingsError says what is not possible."""
    if ecg is not None and is_port(where):
        raise SettingsError(f"no electrocardiogram comes over a wire: {where} is a serial port")
    settings: dict[str, Any] = {"rate_hz": rate_hz, "range_g": range_g}
    try:
        if is_port(where):
            serial = Serial.model_validate({**settings, "port": where, "baud": baud, "dialect": dialect})
            return SerialSource(serial, where, lambda: Port(where, baud))
        return BleSource(Ble.model_validate({**settings, "device": where}), _radio(adapter), ecg=ecg)
    except ValidationError as error:
        raise SettingsError("; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors())) from None


def way_to(where: str, baud: int, adapter: str | None, radio: Radio | None = None) -> Way:
    """How to reach a sensor for a firmware update."""
    if is_port(where):
        return Way.over_serial(where, baud)
    return Way(where, LinkTransport(radio or _radio(adapter)))


def is_port(where: str) -> bool:
    return "/" in where or Path(where).exists()


def is_far(asked: float, is_set: float | None) -> bool:
    return is_set is None or abs(is_set - asked) > 0.05 * asked


async def watch(opened: Callable[..., Source], where: str, seconds: float, *, as_json: bool, ecg: bool = False) -> None:
    meter = Meter()
    both = Paired(meter) if ecg else None
    source = opened(ecg=both.ecg) if both is not None else opened()
    if as_json:

        def told() -> None:
            print(json.dumps({**meter.figures(), **_beside(source), **(both.take() if both else {})}), flush=True)

        await read_for(source, meter, seconds, told, 1.0, both)
        return

    def shown() -> Panel:
        return screen(meter, where, _beside(source), both.millivolts if both else None)

    with Live(shown(), console=_out, refresh_per_second=4, screen=False) as live:
        await read_for(source, meter, seconds, lambda: live.update(shown()), sink=both)


async def _read(opened: partial[Source], meter: Meter, seconds: float) -> None:
    await read_for(opened(), meter, seconds, lambda: None)


def _beside(source: Source) -> dict[str, Any]:
    figures = source.figures()
    return {key: figures.get(key) for key in ("batteryPercent", "rssiDbm")}


def _radio(adapter: str | None) -> Radio:
    return Radio(adapter, reset=partial(power_cycle, adapter))


def _read_image(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}") from None


def show_scan(seen: list[Seen], ports: list[tuple[str, str]], *, as_json: bool) -> None:
    if as_json:
        air = [
            {"address": s.address, "name": s.name, "family": s.family.key if s.family else None, "rssiDbm": s.rssi}
            for s in seen
        ]
        print(json.dumps({"air": air, "ports": [{"port": port, "description": text} for port, text in ports]}))
        return
    table = Table("where", "name", "family", "signal")
    for one in seen:
        table.add_row(one.address, one.name or "", one.family.title if one.family else "", f"{one.rssi} dBm")
    for port, text in ports:
        table.add_row(port, text, "serial port", "")
    _out.print(table if table.row_count else "Nothing in reach: wear or wake the sensor, and keep phones away from it.")


def show_figures(where: str, meter: Meter, findings: list[str]) -> None:
    table = Table("what", "measured", title=f"{where}")
    for key, value in meter.figures().items():
        table.add_row(key, "–" if value is None else f"{value}")
    _out.print(table)
    for text in findings:
        _out.print(f"[red]{text}[/red]", highlight=False)
    if not findings:
        _out.print("[green]The sensor is sound.[/green]")


def show_images(images: list[Image], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([one.said() for one in images]))
        return
    table = Table("slot", "version", "state", "hash")
    for one in images:
        table.add_row(str(one.slot), one.version, ", ".join(one.flags) or "–", one.hash[:16])
    _out.print(table)


def _run(work: Coroutine[Any, Any, Any], or_else: Any = None) -> Any:
    """Run `work`. An error is printed as one sentence; then exit with 2, or return `or_else` if it is given."""
    configure("warning")
    try:
        return asyncio.run(work)
    except (AgentError, CommandRefused) as error:
        _errors.print(f"[bold]homeside sensors:[/bold] {escape(str(error))}", highlight=False, soft_wrap=True)
        if or_else is not None:
            return or_else
        raise typer.Exit(2) from None


if __name__ == "__main__":
    sensors_app()
