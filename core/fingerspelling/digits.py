"""Digits by geometry: which fingers are straight, which fingertip the thumb touches, whether the fingers are spread.

No recordings of digits were available, so nothing is learned, and no confidence exceeds MOST_SURE. Four digits look
like letters (0 O, 2 V, 6 W, 9 F); the requested alphabet, or the neighbouring signs (`settle`), decides which is meant.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.fingerspelling.hand import MCPS, PIPS, TIPS, Floats

MOST_SURE = 0.9
TWINS = {"O": "0", "V": "2", "W": "6", "F": "9"}
_STRAIGHT, _BENT, _CURLED = 0.93, 0.8, 0.5
_TOUCHES = 0.32
_APART = 0.75
_FANNED = 0.42
"""Mean distance between neighbouring fingertips, in palm lengths, from which the fingers count as spread."""


def digit(hand: Floats) -> tuple[str | None, float]:
    """The digit shown by a normalised hand float32[21, 3], with its confidence; (None, 0) when there is none."""
    reach = _reach(hand)
    up = tuple(bool(one >= _STRAIGHT) for one in reach)
    down = tuple(bool(one <= _BENT) for one in reach)
    gaps = [float(np.linalg.norm((hand[tip] - hand[4])[:2])) for tip in TIPS[1:]]
    found = _counted(up, down, reach, gaps, hand)
    return (found, MOST_SURE) if found is not None else (None, 0.0)


def _reach(hand: Floats) -> Floats:
    """Straightness of index to little finger: distance from knuckle to tip divided by the length of the
    bones, in 3D.
    """
    chains = [hand[base : base + 4] for base in MCPS]
    lengths = [float(np.linalg.norm(np.diff(chain, axis=0), axis=-1).sum()) for chain in chains]
    spans = [float(np.linalg.norm(chain[-1] - chain[0])) for chain in chains]
    return np.asarray([span / max(length, 1e-6) for span, length in zip(spans, lengths, strict=True)], np.float32)


def _counted(
    up: tuple[bool, ...], down: tuple[bool, ...], reach: Floats, gaps: list[float], hand: Floats
) -> str | None:
    touched = int(np.argmin(gaps)) if min(gaps) < _TOUCHES else None
    if touched is not None and all(up[other] for other in range(4) if other != touched) and not up[touched]:
        return "9876"[touched]
    thumb_out = _thumb_out(hand)
    if all(up) and _fan(hand) >= _FANNED:
        return "5" if thumb_out else "4"
    if up[0] and up[1] and down[2] and down[3]:
        return "3" if thumb_out else _two(hand)
    if up[0] and down[1] and down[2] and down[3] and not thumb_out:
        return "1"
    if not any(up) and min(gaps) < _TOUCHES and not all(one <= _CURLED for one in reach):
        return "0"
    return None


def _two(hand: Floats) -> str | None:
    return "2" if float(np.linalg.norm((hand[8] - hand[12])[:2])) >= _FANNED else None


def _fan(hand: Floats) -> float:
    tips = hand[np.asarray(TIPS[1:]), :2]
    return float(np.linalg.norm(np.diff(tips, axis=0), axis=-1).mean())


def _thumb_out(hand: Floats) -> bool:
    """Whether the thumb's tip is away from the palm: at least 0.6 palm lengths from every knuckle of the fingers."""
    knuckles = hand[np.asarray([*MCPS, *PIPS]), :2]
    return float(np.linalg.norm(knuckles - hand[4, :2], axis=-1).min()) >= _APART * 0.8


def settle(signs: Sequence[str]) -> list[str]:
    """Turn letters that look like digits into digits when next to one: 1, O, 3 becomes 103.

    Next to letters they stay.
    """
    settled = list(signs)
    for order in (range(len(settled)), range(len(settled) - 1, -1, -1)):
        for index in order:
            beside = settled[max(index - 1, 0) : index] + settled[index + 1 : index + 2]
            twin = TWINS.get(settled[index])
            if (
                twin
                and any(one.isdigit() for one in beside)
                and not any(one.isalpha() and one not in TWINS for one in beside)
            ):
                settled[index] = twin
    return settled
