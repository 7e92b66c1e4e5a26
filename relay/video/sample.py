"""The sample video, drawn and encoded by this module, so that somebody without a camera sees a picture at once.

A test picture for people and programs: grey steps, a swinging pendulum, and a frame counter, shown as digits and as a
row of black and white squares that a program can read. 640x480 at 30 frames/s, constrained baseline, a keyframe every
half second, so that any browser plays it as it is and a new viewer waits little.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, RATE, SECONDS = 640, 480, 30, 4
KEY_EVERY = 15
BITS, SQUARE = 12, 32
"""The counter's squares: how many, and their side in pixels; most significant first, along the lower edge."""
_DIGITS = (
    *("111101101101111", "010110010010111", "111001111100111", "111001111001111", "101101111001001"),
    *("111100111001111", "111100111101111", "111001010010010", "111101111101111", "111101111001111"),
)
"""The digits as dots: three columns by five rows, row by row."""


def make(path: Path) -> None:
    """Write the clip to `path`, completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.profile = "Baseline"
        stream.codec_context.time_base = Fraction(1, RATE)
        stream.options = {"preset": "veryfast", "crf": "27", "g": str(KEY_EVERY), "tune": "zerolatency"}
        for number in range(RATE * SECONDS):
            frame = av.VideoFrame.from_ndarray(picture(number), format="gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    part.replace(path)


def picture(number: int) -> NDArray[np.uint8]:
    """Frame `number` as a grey picture, uint8[height, width]."""
    canvas = np.full((HEIGHT, WIDTH), 235, np.uint8)
    for step in range(8):
        canvas[24:72, 40 + step * 70 : 110 + step * 70] = 40 + step * 26
    _pendulum(canvas, number / RATE)
    _number(canvas, number, top=330, left=40)
    _squares(canvas, number)
    return canvas


def read_squares(grey: NDArray[np.uint8]) -> int:
    """The frame counter, read from a picture that passed through encoder, network and decoder."""
    middle = HEIGHT - SQUARE // 2
    found = 0
    for bit in range(BITS):
        at = 40 + bit * SQUARE + SQUARE // 2
        found = found << 1 | int(grey[middle - 4 : middle + 4, at - 4 : at + 4].mean() > 128)
    return found


def _squares(canvas: NDArray[np.uint8], number: int) -> None:
    for bit in range(BITS):
        white = number >> (BITS - 1 - bit) & 1
        canvas[HEIGHT - SQUARE :, 40 + bit * SQUARE : 40 + (bit + 1) * SQUARE] = 235 if white else 16


def _pendulum(canvas: NDArray[np.uint8], seconds: float) -> None:
    """A pendulum that swings once in two seconds, to show whether the video runs and how smoothly."""
    angle = 0.6 * math.sin(math.pi * seconds)
    x, y = WIDTH // 2 + int(180 * math.sin(angle)), 100 + int(180 * math.cos(angle))
    for part in range(181):
        a = WIDTH // 2 + (x - WIDTH // 2) * part // 180
        b = 100 + (y - 100) * part // 180
        canvas[b - 1 : b + 2, a - 1 : a + 2] = 90
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    canvas[(rows - y) ** 2 + (columns - x) ** 2 < 34**2] = 60


def _number(canvas: NDArray[np.uint8], number: int, top: int, left: int) -> None:
    for place, digit in enumerate(f"{number:04d}"):
        for cell, ink in enumerate(_DIGITS[int(digit)]):
            if ink == "1":
                y, x = top + cell // 3 * 16, left + place * 64 + cell % 3 * 16
                canvas[y : y + 16, x : x + 16] = 30
