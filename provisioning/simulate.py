"""`homeside simulate`: a simulated chest sensor on a serial port, with the chosen heart, line quality and mishaps."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from core.contracts.errors import ContractError
from core.contracts.recordings import Recording, parse_recording
from firmware_bridge.errors import BridgeError
from firmware_bridge.faults import Faults
from firmware_bridge.physiology import Seismocardiogram
from firmware_bridge.simulator import RATE_BOUNDS_HZ, Board, Signal, SimulatedSensor
from provisioning.errors import ProvisioningError, RecordingMissing
from provisioning.simulation import Mishaps, Report, Simulation
from provisioning.virtual_port import VirtualPort

simulate_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_HEART, _LINE, _BOARD = "The heart", "The line", "The board"


@simulate_app.command(
    epilog="Example:  homeside simulate --link ./chest --bpm 72   then, in another terminal, "
    "homeside agent --serial ./chest"
)
def simulate(
    link: Annotated[Path, typer.Option("--link", "--pty", help="Where the serial port is to appear.")],
    rate: Annotated[
        float | None,
        typer.Option(
            help="Samples a second, 1 to 4000; 100, or the recording's own, unless given.", rich_help_panel=_BOARD
        ),
    ] = None,
    range_g: Annotated[float, typer.Option("--range", help="Full scale in g.", rich_help_panel=_BOARD)] = 4.0,
    bits: Annotated[int, typer.Option(help="16, or 20 sent as int32.", rich_help_panel=_BOARD)] = 16,
    drift_ppm: Annotated[
        float, typer.Option(help="How fast the board's clock runs ahead, in millionths.", rich_help_panel=_BOARD)
    ] = 0.0,
    restart_every: Annotated[
        float, typer.Option(min=0, help="Seconds between restarts of the board. 0: none.", rich_help_panel=_BOARD)
    ] = 0.0,
    bpm: Annotated[float, typer.Option(help="Heart rate, 20 to 240 a minute.", rich_help_panel=_HEART)] = 64.0,
    motion_every: Annotated[
        float, typer.Option(min=0, help="Seconds between movements of the body. 0: none.", rich_help_panel=_HEART)
    ] = 0.0,
    recording: Annotated[
        Path | None,
        typer.Option(
            help="Play this instead, over and over: a phone's CSV, NDJSON of samples_batch, or a Full Session Object; "
            "each may be gzipped.",
            rich_help_panel=_HEART,
        ),
    ] = None,
    loss: Annotated[float, typer.Option(help="Share of frames lost, 0 to 0.9.", rich_help_panel=_LINE)] = 0.0,
    burst: Annotated[float, typer.Option(help="Frames lost in a row, on average.", rich_help_panel=_LINE)] = 1.0,
    bit_errors: Annotated[float, typer.Option(help="Share of bits that flip.", rich_help_panel=_LINE)] = 0.0,
    jitter_ms: Annotated[
        float, typer.Option(min=0, help="Mean delay of arrival, random.", rich_help_panel=_LINE)
    ] = 0.0,
    unplug_every: Annotated[
        float,
        typer.Option(min=0, help="Seconds until the port is pulled out for 2 s. 0: never.", rich_help_panel=_LINE),
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Another number is another patient and another line.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Tell the truth once a second, as JSON lines.")] = False,
) -> None:
    """Simulate a chest sensor on a pseudo-terminal: a heartbeat in real frames, commands obeyed, faults on demand."""
    try:
        played = _read(recording) if recording else None
        chest = _playback(played) if played else Seismocardiogram(bpm, motion_every_s=motion_every, seed=seed)
        sensor = SimulatedSensor(
            chest,
            _own_rate(played) if rate is None else rate,
            range_g,
            seed=seed,
            board=Board(bits=bits, drift_ppm=drift_ppm),
            faults=Faults(loss=loss, burst=burst, bit_errors=bit_errors),
        )
        mishaps = Mishaps(jitter_ms=jitter_ms, unplug_every_s=unplug_every, restart_every_s=restart_every)
        report = _print_json if as_json else _tell(f"{sensor.rate_hz:g} Hz, ±{range_g:g} g")
        asyncio.run(_run(Simulation(sensor, VirtualPort(link), mishaps, seed=seed, report=report)))
    except (BridgeError, ContractError, ProvisioningError) as error:
        typer.echo(f"homeside simulate: {error}", err=True)
        raise typer.Exit(2) from None


async def _run(simulation: Simulation) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, simulation.stop)
    await simulation.run()


def _read(path: Path) -> Recording:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordingMissing(f"{path}: {error.strerror}") from None
    return parse_recording(data, path.name)


def _playback(played: Recording) -> Signal:
    from firmware_bridge.playback import Playback  # brings scipy: only when something is played

    return Playback(played)


def _own_rate(played: Recording | None) -> float:
    if played is None:
        return 100.0
    return min(max(played.sampling_rate_hz, RATE_BOUNDS_HZ[0]), RATE_BOUNDS_HZ[1])


def _print_json(event: dict[str, Any]) -> None:
    typer.echo(json.dumps(event))


def _tell(setting: str) -> Report:
    said = {
        "plugged_in": f"Chest sensor at {{link}} ({setting}). Ctrl-C ends it.",
        "unplugged": "Unplugged.",
        "restarted": "The board restarted.",
    }

    def tell(event: dict[str, Any]) -> None:
        if event["event"] in said:
            typer.echo(said[event["event"]].format(**event))

    return tell
