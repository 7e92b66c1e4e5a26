"""`homeside load`: any number of kits and viewers against one relay, a site or a cluster, with a verdict at the end.

Kits resend what is not acknowledged, through whichever broker answers; viewers reconnect to whichever relay answers.
With `--check` every session is read back and compared, sample by sample, with what its kit was told is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import asdict
from typing import Annotated, Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from provisioning.errors import ProvisioningError
from provisioning.loading.checking import Verdict
from provisioning.loading.kits import Kit, Tally
from provisioning.loading.viewers import Seen, Viewer

READ_WITHIN_S = 60.0

load_app = typer.Typer(add_completion=False)
_console = Console(highlight=False, soft_wrap=True)


@load_app.command()
def load(
    kits: Annotated[int, typer.Option(min=1, help="How many kits.")] = 10,
    viewers: Annotated[int, typer.Option(min=0, help="How many viewers, spread over the kits' sessions.")] = 10,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long the kits measure.")] = 30.0,
    rate: Annotated[float, typer.Option(min=1.0, help="Samples a second of each kit.")] = 100.0,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Samples in a message.")] = 10,
    broker: Annotated[str, typer.Option(help="Where kits connect; several, with commas.")] = "mqtt://127.0.0.1:1883",
    relay: Annotated[str, typer.Option(help="Where viewers connect; several, with commas.")] = "http://127.0.0.1:8000",
    patience: Annotated[float, typer.Option(help="Seconds to wait for the last acknowledgements.")] = 30.0,
    check: Annotated[bool, typer.Option("--check", help="Read every session back and compare.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object instead of a table.")] = False,
) -> None:
    """Act as many kits and viewers; report what was acknowledged, how late, and whether anything is missing.

    Example: homeside load --kits 100 --viewers 300 --seconds 60 --check
    """
    brokers, relays = broker.split(","), [one.rstrip("/") for one in relay.split(",")]
    tally, seen = Tally(), Seen()
    rows = [Kit(f"load-{number}", brokers, tally, per_batch=batch, rate_hz=rate) for number in range(kits)]
    try:
        found = asyncio.run(_load(rows, relays, viewers, seconds, patience, tally, seen))
        if check:
            found["check"] = asdict(verdict := _check(rows, relays))
    except ProvisioningError as error:
        _console.print(f"[bold]homeside load:[/bold] {escape(str(error))}")
        raise typer.Exit(2) from None
    _show(found, as_json=as_json)
    if check and not verdict.good:
        raise typer.Exit(1)


async def _load(
    kits: list[Kit], relays: list[str], viewers: int, seconds: float, patience: float, tally: Tally, seen: Seen
) -> dict[str, Any]:
    began = time.monotonic()
    measuring = [asyncio.create_task(kit.run(seconds, patience)) for kit in kits]
    watching = []
    for number in range(viewers):
        kit = kits[number % len(kits)]
        await asyncio.wait([kit.known, measuring[number % len(kits)]], return_when=asyncio.FIRST_COMPLETED)
        watching.append(asyncio.create_task(Viewer(kit.session, relays, seen, number).run()))
    await asyncio.sleep(max(0.0, seconds - (time.monotonic() - began)))
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    await asyncio.gather(*measuring)
    return {**_figures(kits, tally, seen), "seconds": round(time.monotonic() - began, 2)}


def _figures(kits: list[Kit], tally: Tally, seen: Seen) -> dict[str, Any]:
    return {
        "kits": {
            "messages": tally.sent,
            "acknowledged": tally.acked,
            "again": tally.again,
            "rejected": tally.rejected,
            "waiting": sum(kit.waiting for kit in kits),
            "connections": tally.connections,
            "ackMs": _percentiles(tally.delays),
        },
        "viewers": {
            "points": seen.points,
            "holes": seen.holes,
            "doubles": seen.doubles,
            "lostRelays": seen.lost_relays,
            "delayMs": _percentiles(seen.delays),
            "awayS": _percentiles(seen.away),
        },
    }


def _percentiles(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    ranked = sorted(values)
    return {
        name: round(ranked[min(len(ranked) - 1, int(part * len(ranked)))], 2)
        for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }


def _check(kits: list[Kit], relays: list[str]) -> Verdict:
    verdict = Verdict()
    for number, kit in enumerate(kits):
        verdict.add(kit.start_ms, kit.per_batch, kit.told, _read(kit.session, relays, number))
    return verdict


def _read(session: str, relays: list[str], first: int) -> list[list[float]]:
    """A session's samples, from the first relay that provides them."""
    deadline, turn, problem = time.monotonic() + READ_WITHIN_S, first, ""
    while time.monotonic() < deadline:
        url = f"{relays[turn % len(relays)]}/api/v1/sessions/{session}?format=0.2"
        turn += 1
        with contextlib.suppress(TimeoutError):
            try:
                with urlopen(Request(url), timeout=READ_WITHIN_S) as answer:  # noqa: S310  the operator's own address
                    samples: list[list[float]] = json.load(answer)["samples"]
                    return samples
            except HTTPError as error:
                problem = f"status {error.code}"
            except (URLError, OSError, ValueError) as error:
                problem = str(error)
        time.sleep(0.3)
    raise ProvisioningError(f"no relay gives session {session} back: {problem}")


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"event": "load_done", **found}))
        return
    table = Table("who", "what", "figure")
    for who, figures in found.items():
        if isinstance(figures, dict):
            for what, figure in figures.items():
                table.add_row(who, what, json.dumps(figure))
    _console.print(table)


if __name__ == "__main__":
    load_app()
