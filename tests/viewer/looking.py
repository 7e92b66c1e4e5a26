"""Reading a page as a person would: its words, and the very pixels of its drawings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page

from tests.waiting import PATIENCE_S, until

Floats = NDArray[np.float64]

READ = """([plot, kind, below]) => {
  const host = document.querySelector(plot)
  const canvas = host.querySelector('canvas')
  const box = host.querySelector('.u-over').getBoundingClientRect()
  const all = canvas.getBoundingClientRect()
  const scale = canvas.width / all.width
  const [x0, y0] = [(box.left - all.left) * scale, (box.top - all.top) * scale].map(Math.round)
  const [w, h] = [box.width * scale, box.height * scale].map(Math.round)
  const data = canvas.getContext('2d').getImageData(x0, y0, w, h).data
  const is = {
    ink: (r, g, b) => r < 120 && g < 120 && b < 120,
    doubt: (r, g, b) => r > b + 60 && r > g + 10 && r < 190,
    heart: (r, g, b) => r > 150 && g < 110 && b < 130,
    anything: (r, g, b, a) => a > 60 && (r < 215 || g < 215 || b < 215),
  }[kind]
  const columns = []
  for (let x = 0; x < w; x++) {
    let low = -1
    let high = -1
    for (let y = below; y < h; y++) {
      const i = 4 * (y * w + x)
      if (data[i + 3] > 100 && is(data[i], data[i + 1], data[i + 2], data[i + 3])) {
        if (low < 0) low = y
        high = y
      }
    }
    columns.push([low, high])
  }
  return { width: w, height: h, columns, ...host.dataset }
}"""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is on a canvas: for each column of the plot the topmost and lowest row of a colour, or -1."""

    top: Floats
    bottom: Floats
    height: int
    start: float
    end: float
    half: float

    @property
    def width(self) -> int:
        return len(self.top)

    @property
    def empty(self) -> NDArray[np.bool_]:
        return self.top < 0

    def times(self) -> Floats:
        """The stream time at the middle of each column."""
        return self.start + (np.arange(self.width) + 0.5) / self.width * (self.end - self.start)

    def row(self, value: Floats) -> Floats:
        return np.asarray((self.half - value) / (2 * self.half) * self.height)

    def expected(self, t: Floats, value: Floats) -> tuple[Floats, Floats]:
        """Topmost and lowest row of a line through the points, in each column."""
        edges = self.start + np.arange(self.width + 1) / self.width * (self.end - self.start)
        at_edges = np.interp(edges, t, value)
        high = np.maximum(at_edges[:-1], at_edges[1:])
        low = np.minimum(at_edges[:-1], at_edges[1:])
        column = np.floor((t - self.start) / (self.end - self.start) * self.width).astype(int)
        inside = (column >= 0) & (column < self.width)
        np.maximum.at(high, column[inside], value[inside])
        np.minimum.at(low, column[inside], value[inside])
        return self.row(high), self.row(low)


def drawing(page: Page, plot: str, colour: str = "ink", *, below: int = 0) -> Drawing:
    """The pixels of the plot `plot` (a CSS selector), `below` some row, of a colour: ink, doubt, heart or anything."""
    found = page.evaluate(READ, [plot, colour, below])
    columns = np.array(found["columns"], dtype=np.float64)
    numbers = {key: float(found.get(key, "nan")) for key in ("from", "to", "half")}
    return Drawing(
        top=columns[:, 0],
        bottom=columns[:, 1],
        height=found["height"],
        start=numbers["from"],
        end=numbers["to"],
        half=numbers["half"],
    )


def assert_drawn(
    found: Drawing,
    t: Floats,
    value: Floats,
    columns: NDArray[np.bool_],
    *,
    within_px: float = 2.0,
    thinned: bool = False,
) -> None:
    """In all the columns named the ink covers the line through the samples, and reaches no further.

    A stroke 1.6 px wide reaches into the columns beside it, so what those hold may show as well. A `thinned` line
    has its extremes at whole pixels: in the column named or one beside it, and shows one column further.
    """
    top, bottom = (np.clip(rows, 0, found.height - 1) for rows in found.expected(t, value))
    assert columns.any()
    assert not found.empty[columns].any()
    off = int(thinned)
    assert (widest(found.top, np.minimum, off) - top)[columns].max() <= within_px
    assert (bottom - widest(found.bottom, np.maximum, off))[columns].max() <= within_px
    assert (widest(top, np.minimum, 1 + off) - found.top)[columns].max() <= within_px
    assert (found.bottom - widest(bottom, np.maximum, 1 + off))[columns].max() <= within_px


def widest(rows: Floats, of: np.ufunc, reach: int) -> Floats:
    """For each column the extreme of it and `reach` neighbours on either side."""
    padded = np.pad(rows, reach, mode="edge")
    return np.asarray(of.reduce(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1), axis=1))


def words(page: Page, selector: str) -> str:
    return page.locator(selector).inner_text().strip()


def wait_words(page: Page, selector: str, wanted: str, within_s: float = PATIENCE_S) -> str:
    """The words of an element once `wanted` is among them."""

    def there() -> str | None:
        found = page.locator(selector).text_content() or ""
        return found if wanted in found else None

    def instead() -> str:
        return f"{wanted!r} in {selector}; it says {page.locator(selector).text_content()!r}"

    return str(until(there, instead, within_s))


def wait_state(page: Page, state: str, within_s: float = PATIENCE_S) -> None:
    until(lambda: page.evaluate("document.body.dataset.state") == state, f"the page to say {state}", within_s)
