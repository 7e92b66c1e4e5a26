"""A chart for the terminal with eight dots per character (Unicode's Braille patterns), from the newest samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agent.sensors.meter import Meter

WIDTH, HEIGHT = 72, 8
LEAST_SPAN = 0.01
"""Least span of the chart in g, so that noise is not magnified to full height."""
LEAST_MV = 0.2
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_BLANK = 0x2800


def chart(values: np.ndarray, width: int = WIDTH, height: int = HEIGHT, least_span: float = LEAST_SPAN) -> list[str]:
    """The lines of a chart of `values`, oldest at the left; each column spans the least to the greatest of
    its values.
    """
    cells = np.zeros((height, width), np.int64)
    if len(values):
        middle = (float(values.max()) + float(values.min())) / 2
        span = max(float(values.max()) - float(values.min()), least_span)
        rows = np.clip(np.rint((0.5 - (values - middle) / span) * (4 * height - 1)), 0, 4 * height - 1).astype(int)
        columns = np.arange(len(values)) * 2 * width // max(len(values), 1)
        for column in np.unique(columns):
            inside = rows[columns == column]
            for row in range(int(inside.min()), int(inside.max()) + 1):
                cells[row // 4, column // 2] |= _DOTS[row % 4, column % 2]
    return ["".join(chr(_BLANK + int(cell)) for cell in line) for line in cells]


def screen(meter: Meter, where: str, beside: dict[str, Any], millivolts: np.ndarray | None = None) -> Panel:
    """The screen of `sensors stream`: the axis that varies most, an electrocardiogram if there is one, and
    the figures.
    """
    axes = meter.axes_g
    at = int(axes.std(axis=0).argmax()) if len(axes) else 2
    values = axes[:, at] if len(axes) else np.empty(0)
    bounds = f"{values.min():+.3f} to {values.max():+.3f} g" if len(values) else "no samples yet"
    figures = meter.figures()
    table = Table.grid(padding=(0, 2))
    table.add_row(
        f"rate {_said(figures['measuredHz'])} Hz",
        f"lost {meter.lost}",
        f"late {_said(figures['lateMs'])} ms",
        f"jitter {_said(figures['jitterMs'])} ms",
        f"clock ± {_said(figures['clockErrorMs'])} ms",
    )
    table.add_row(
        f"samples {meter.samples_seen}",
        f"|a| {_said(figures['gravityG'])} g",
        f"battery {_said(beside.get('batteryPercent'))} %",
        f"signal {_said(beside.get('rssiDbm'))} dBm",
        "Ctrl-C ends",
    )
    title = f"{figures['name']} ({figures['kind']}) on {where}"
    lines = [Text("\n".join(chart(values))), Text(f"{'xyz'[at]}: {bounds}")]
    if millivolts is not None:
        lines += [Text("\n".join(chart(millivolts, least_span=LEAST_MV))), Text(f"ECG: {_range(millivolts)}")]
    return Panel(Group(*lines, table), title=title)


def _range(millivolts: np.ndarray) -> str:
    return f"{millivolts.min():+.2f} to {millivolts.max():+.2f} mV" if len(millivolts) else "nothing yet"


def _said(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"
