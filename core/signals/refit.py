"""Sample times for a whole recording, from the ticks and arrivals stored with it, using later packets as well as
earlier.

The live clock can only look back. Here each stretch is fitted with the packets before and after it, by the same two
estimators, so that the first minute is as good as any other. A restarted device begins a new stretch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.signals.clock import BIN_NS, JUMP_NS, fit_clock

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CENTRES_NS = 10e9
HALF_WINDOW_NS = 30e9
"""A line every ten seconds, fitted to the minute around it; the offset between them is interpolated linearly."""


class Refit(NamedTuple):
    """`t_ns`: host-monotonic times of the packets' newest samples;

    `error_ms`: the largest error bar, None if there is none.
    """

    t_ns: Floats
    error_ms: float | None


def refit(packets: Sequence[tuple[int, int, int]], tick_ns: float, delay_ns: float = 0.0) -> Refit:
    """`packets`: (tick of the newest sample, arrival in host-monotonic ns, sample count), in order of arrival, n >= 1.

    All times remain late by the least one-way delay, except for the part `delay_ns` of it that is known.
    """
    ticks = np.array([packet[0] for packet in packets], np.int64)
    arrivals = np.array([packet[1] for packet in packets], np.int64)
    parts, errors = [], list[float]()
    for start, end in _stretches(ticks, arrivals, tick_ns):
        x = (ticks[start:end] - ticks[start]).astype(np.float64) * tick_ns
        y = (arrivals[start:end] - arrivals[start]).astype(np.float64) - x
        offsets, error = _offsets(x, y)
        parts.append(arrivals[start] + (x + offsets - delay_ns))
        errors += [] if error is None else [error]
    return Refit(np.concatenate(parts), max(errors) / 1e6 if errors else None)


def _stretches(ticks: Ints, arrivals: Ints, tick_ns: float) -> list[tuple[int, int]]:
    """Runs of packets of one clock: the counter never falls, nor gets ahead of the arrivals by more than JUMP_NS."""
    steps = np.diff(ticks) * tick_ns
    early = steps - np.diff(arrivals) > JUMP_NS
    cuts = (np.flatnonzero((steps < 0) | early) + 1).tolist()
    return list(zip([0, *cuts], [*cuts, len(ticks)], strict=True))


def _offsets(x: Floats, y: Floats) -> tuple[Floats, float | None]:
    """Arrival minus device time at each packet, without its delay above the least one, in ns; and the error bar."""
    at, least = _minima(x, y)
    centres = np.arange(0.0, x[-1] + CENTRES_NS, CENTRES_NS)
    values, errors = [], list[float]()
    for centre in centres:
        near = np.abs(at - centre) <= HALF_WINDOW_NS
        if not near.any():
            values.append(np.nan)
            continue
        line, error = fit_clock(at[near], least[near])
        values.append(line.at(centre))
        errors += [] if error is None else [error]
    known = np.isfinite(values)
    return np.interp(x, centres[known], np.array(values)[known]), max(errors, default=None)


def _minima(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The least delayed packet of each second."""
    order = np.lexsort((y, x // BIN_NS))
    first = np.unique((x // BIN_NS)[order], return_index=True)[1]
    chosen = order[first]
    return x[chosen], y[chosen]
