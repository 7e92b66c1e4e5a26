"""The model card: docs/fingerspelling-model.md and its confusion picture, written from the measurements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np

from core.fingerspelling.letters import STATIC
from provisioning.letters.judging import Held, Sureness

SOURCES = {
    "boris": ("borisgraudt/asl-ai @fa1dcdb", "MIT, data CC0", "one signer"),
    "nejohnson": ("nejohnson2/real-time-asl-translator @b370887", "MIT", "no Q"),
    "dhivyesh": ("Dhivyeshp/ASL-TFLite-Translator @ea6488a", "MIT", "A–G and Y only"),
    "insitee": ("Insitee/ASL @566eb09", "Apache-2.0", "A–I and L only, no depth"),
}
_CELL = 18
_RIGHT, _WRONG = "#1b6e4b", "#b3261e"

OPENING = """\
# The letter model

Written by `python -m provisioning.letters` on {when}. Do not edit by hand.

The model reads the 24 static letters of the American manual alphabet from 21 hand landmarks. It is a multilayer
perceptron (274 features, 128, 64, 24) of {kilobytes:.0f} kB, including the embeddings that calibration uses for
rehearsal. Computing the features and running the network takes {took:.0f} µs on the machine that trained it. It was
distilled from three teachers, trained on recorded and synthetic hands (`core/fingerspelling/shapes.py`, seen by a
random camera). Some synthetic hands show no letter, so that finger positions of no letter are read as unsure.

## Accuracy on people it has not seen

Each source was left out of training in turn; *macro* is the macro accuracy over the letters that the source contains.
Four sources are few: treat differences below .02 as noise. *Calibrated* means that the last layer was refitted on 5
pictures per letter of the same person. They come from the same recording, which makes this figure optimistic.

The weight of the synthetic hands was chosen by leaving two sources out. Their variation follows how people differ in
a letter, where at least two sources agreed on it. It was set with all four sources in view, which makes the figures
slightly optimistic.

Insitee does not say which hand it shows. This was inferred from the turn of the palm, and for G and H from the
direction of the index finger.

| left out | letters | rows | macro | calibrated | weakest letters |
|---|---|---|---|---|---|
{rows}
| **mean** | | | **{macro:.3f}** | **{calibrated:.3f}** | |

A reading is sure from a confidence of {at:.2f} (temperature {heat:.2f}). Of the sure readings {accuracy:.1%} are
right, and {coverage:.1%} of all readings are sure; both are means over the left-out sources. Any other reading is
“unsure”: no sign is reported, and in a sequence it counts only if held twice as long.

## Accuracy by letter

"""
CLOSING = """
![Which letter is read as which, on sources left out](fingerspelling-confusion.svg)

## Sources and their licences

| name | repository | licence | |
|---|---|---|---|
{sources}

Homeside contains none of the recordings. It contains the weights, under its own licence. Some labels in the public
data sets are plainly wrong; none was corrected.

## Limits

The model was not tested with people whose hands are stiff or swollen or lack fingers, with dark gloves, or on a
Raspberry Pi. The fist letters A, S, T, M, N and E differ only in a hidden thumb and are among the weakest. K and V, U
and R, and G and Q differ from person to person. J, Z and the digits are not learned: J and Z are recognised by the
path of a fingertip, digits by geometry. Neither was tested on recordings, because there were none. The model reads
letters, not sign language.
"""


def card(held: Sequence[Held], sure: Sureness, heat: float, size: int, took_us: float, when: date) -> str:
    """The card in Markdown. Every figure in it was measured by the run that writes it."""
    opening = OPENING.format(
        when=when.isoformat(),
        kilobytes=size / 1000,
        took=took_us,
        rows="\n".join(_row(one) for one in held),
        macro=np.mean([one.macro for one in held]),
        calibrated=np.mean([one.calibrated for one in held]),
        at=sure.at,
        heat=heat,
        accuracy=sure.accuracy,
        coverage=sure.coverage,
    )
    sources = [f"| {name} | {origin} | {licence} | {note} |" for name, (origin, licence, note) in SOURCES.items()]
    return opening + _letters(held) + CLOSING.format(sources="\n".join(sources))


def _row(held: Held) -> str:
    letters = held.per_letter()
    weak = sorted((share, letter) for letter, share in letters.items() if share < 0.9)[:6]
    named = ", ".join(f"{letter} {share:.2f}" for share, letter in weak) or "none below .90"
    figures = f"{len(letters)} | {len(held.labels)} | {held.macro:.3f} | {held.calibrated:.3f}"
    return f"| {held.name} | {figures} | {named} |"


def _letters(held: Sequence[Held]) -> str:
    lines = ["| | " + " | ".join(STATIC) + " |", "|---" * (len(STATIC) + 1) + "|"]
    for one in held:
        found = one.per_letter()
        cells = [f"{found[letter]:.2f}" if letter in found else "" for letter in STATIC]
        lines.append(f"| {one.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def picture(held: Sequence[Held]) -> str:
    """SVG with a row per letter shown and a column per letter read; every source has the same weight."""
    shares = np.zeros((len(STATIC), len(STATIC)))
    seen = np.zeros(len(STATIC))
    for one in held:
        for meant in np.unique(one.labels):
            read = one.logits[one.labels == meant].argmax(1)
            shares[meant] += np.bincount(read, minlength=len(STATIC)) / len(read)
            seen[meant] += 1
    shares /= np.maximum(seen, 1)[:, None]
    side = (len(STATIC) + 2) * _CELL
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" font-family="sans-serif" font-size="11"',
        ' text-anchor="middle"><rect width="100%" height="100%" fill="#fff"/>',
    ]
    for index, letter in enumerate(STATIC):
        at = (index + 1.5) * _CELL
        parts.append(f'<text x="{at}" y="{_CELL * 0.75}">{letter}</text>')
        parts.append(f'<text x="{_CELL / 2}" y="{at + 4}">{letter}</text>')
    parts += [_cell(meant, read, share) for (meant, read), share in np.ndenumerate(shares) if share >= 0.01]
    return "".join([*parts, "</svg>"]) + "\n"


def _cell(meant: int, read: int, share: float) -> str:
    hue = _RIGHT if meant == read else _WRONG
    place = f'x="{(read + 1) * _CELL}" y="{(meant + 1) * _CELL}" width="{_CELL - 1}" height="{_CELL - 1}"'
    title = f"<title>{STATIC[meant]} read as {STATIC[read]}: {share:.0%}</title>"
    return f'<rect {place} fill="{hue}" opacity="{share:.2f}">{title}</rect>'
