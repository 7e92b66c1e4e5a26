"""`homeside bench vision`: measures how fast this machine analyses pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent.errors import AgentError
from agent.vision.measure import Stage, machine, models_alone, whole_pictures

bench_app = typer.Typer(add_completion=False, no_args_is_help=True)
WALKING = Path(__file__).resolve().parents[2] / "provisioning" / "media" / "walking.mp4"


@bench_app.callback()
def bench() -> None:
    """Measure this machine.

    Example: homeside bench vision --threads 4
    """


@bench_app.command()
def vision(
    video: Annotated[
        Path | None, typer.Option(help="A video of somebody, for whole pictures; else the demonstration's, if there.")
    ] = None,
    threads: Annotated[
        int,
        typer.Option(min=0, max=16, help="Threads of the models; 0 measures how many are quickest, as a kit does."),
    ] = 0,
    rounds: Annotated[int, typer.Option(min=5, max=1000, help="How often each is measured.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time each vision model, and whole pictures, on this machine.

    Example: homeside bench vision --threads 4 --json
    """
    shown = video or (WALKING if WALKING.is_file() else None)
    try:
        stages = list(models_alone(threads, rounds))
        if shown is not None:
            stages += whole_pictures(shown, threads, rounds)
    except AgentError as error:
        Console(stderr=True).print(
            f"[bold]homeside bench:[/bold] {escape(str(error))}", highlight=False, soft_wrap=True
        )
        raise typer.Exit(2) from None
    where = machine()
    if as_json:
        figures = {"machine": where._asdict(), "threads": threads, "stages": [stage._asdict() for stage in stages]}
        typer.echo(json.dumps(figures))
        return
    _show(stages, threads)
    warm = "not told" if where.temperature_c is None else f"{where.temperature_c:.0f} °C"
    memory = where.rss_bytes / 2**20
    Console().print(f"{where.name}, Python {where.python}. Memory {memory:.0f} MB, processor {warm}.")
    if shown is None:
        Console().print("Whole pictures were not measured: give --video FILE, a video with somebody in it.")


def _show(stages: list[Stage], threads: int) -> None:
    table = Table(
        "what", "median ms", "p95 ms", "a second", title=f"Looking at pictures, {threads or 'measured'} threads"
    )
    for stage in stages:
        each = 1000 / stage.median_ms
        table.add_row(stage.name, f"{stage.median_ms:.1f}", f"{stage.p95_ms:.1f}", f"{each:.0f}")
    Console().print(table)
