"""`python -m provisioning.letters LANDMARKS.npz`: trains and evaluates the letter model, writes weights and model card.

Takes a few minutes on two cores. The recordings are not part of Homeside; docs/fingerspelling-model.md names their
origin.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import core.fingerspelling
from core.fingerspelling.letters import WEIGHTS_FILE, Network
from provisioning.letters.card import card, picture
from provisioning.letters.judging import Held, judge, misread, reader_time_us, rehearsed, sure_from, temperature
from provisioning.letters.recipe import teach
from provisioning.letters.sources import Source, recorded, synthetic

SEED = 3
DOCS = Path("docs")

letters_app = typer.Typer(add_completion=False)


@letters_app.command()
def letters(
    landmarks: Annotated[Path, typer.Argument(help="An .npz of NAME__x float32[n, 21, 3] and NAME__y letters.")],
    docs: Annotated[Path, typer.Option(help="Where the model card goes.")] = DOCS,
    weights: Annotated[Path, typer.Option(help="Where the weights go.")] = Path(core.fingerspelling.__path__[0])
    / WEIGHTS_FILE,
) -> None:
    """Train, judge and write. Example: python -m provisioning.letters signs/landmarks.npz"""
    rng = np.random.default_rng(SEED)
    sources, made = recorded(landmarks), synthetic(rng)
    held = [_left_out(one, [*(other for other in sources if other is not one), made], rng) for one in sources]
    heat = temperature(held)
    sure = sure_from(held, heat)
    typer.echo(f"temperature {heat:.2f}; sure from {sure.at:.2f}: {sure.accuracy:.3f} right of {sure.coverage:.3f}")
    network = _network([*sources, made], rng)
    network = Network(network.arrays, heat, sure.at, {"misread": misread(held)})
    data = network.pack()
    weights.write_bytes(data)
    took = reader_time_us(Network.unpack(data), sources[0].hands[0], time.perf_counter)
    (docs / "fingerspelling-model.md").write_text(card(held, sure, heat, len(data), took, datetime.now(UTC).date()))
    (docs / "fingerspelling-confusion.svg").write_text(picture(held))
    typer.echo(f"{weights.name}: {len(data)} bytes; one hand {took:.0f} us")


def _left_out(one: Source, others: list[Source], rng: np.random.Generator) -> Held:
    held = judge(_network(others, rng), one)
    typer.echo(f"without {one.name}: {held.macro:.3f}, calibrated {held.calibrated:.3f}")
    return held


def _network(sources: list[Source], rng: np.random.Generator) -> Network:
    return rehearsed(teach(sources, SEED, typer.echo), sources, rng)


if __name__ == "__main__":
    letters_app()
