"""What the viewer's files may name: colours in tokens.css alone, and nothing that is loaded from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

VIEWER = "relay/viewer"
COLOUR_NAMES = (
    *("aqua", "beige", "black", "blue", "brown", "coral", "crimson", "cyan", "darkblue", "darkgray"),
    *("darkgreen", "darkgrey", "darkred", "fuchsia", "gold", "gray", "green", "grey", "indigo", "ivory"),
    *("khaki", "lavender", "lightblue", "lightgray", "lightgreen", "lightgrey", "lime", "magenta", "maroon", "navy"),
    *("olive", "orange", "orchid", "pink", "plum", "purple", "red", "salmon", "sienna", "silver"),
    *("slategray", "snow", "steelblue", "tan", "teal", "tomato", "turquoise", "violet", "wheat", "white"),
    *("whitesmoke", "yellow"),
)
HEX = r"#(?:[0-9a-fA-F]{3,4}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})"
FUNCTION = r"(?<![-\w])(?:rgba?|hsla?|hwb|lab|lch|oklab|oklch|color)\("
NAME = rf"(?<![-\w])(?:{'|'.join(COLOUR_NAMES)})(?![-\w(])"

CSS_VALUE = re.compile(r"[-\w]+\s*:(?P<value>[^;{}]*)(?=[;}])")
CSS_COLOUR = re.compile(rf"{HEX}\b|{FUNCTION}|{NAME}")
QUOTED_COLOUR = re.compile(rf"[\"'`](?:{HEX}|{NAME})[\"'`]|{FUNCTION}\s*\d")
STYLED_COLOUR = re.compile(rf"(?:style|fill|stroke|color|content)=[\"'][^\"']*(?:{HEX}\b|{FUNCTION}|{NAME})")
COMMENT = re.compile(r"/\*.*?\*/|<!--.*?-->", re.DOTALL)
ELSEWHERE = re.compile(r"[\"'`(=]\s*(?:(?:https?|wss?):)?//[\w\[{$]")
NAMESPACES = re.compile(r"[\"'`]http://www\.w3\.org/[\w/]+[\"'`]")


def colours(root: Path) -> list[str]:
    """tokens.css names the colours; every other file takes them from there by their token."""
    return [
        f"{where}:{line}: names the colour {what}; tokens.css does that"
        for where, text in files(root, ".css", ".js", ".html", ".svg")
        if not where.endswith("/tokens.css")
        for line, what in named_colours(where, text)
    ]


def named_colours(where: str, text: str) -> Iterator[tuple[int, str]]:
    if where.endswith(".css"):
        for declared in CSS_VALUE.finditer(text):
            for found in CSS_COLOUR.finditer(declared["value"]):
                yield line_of(text, declared.start("value") + found.start()), found.group()
        return
    for pattern in (QUOTED_COLOUR, STYLED_COLOUR):
        for found in pattern.finditer(text):
            yield line_of(text, found.start()), found.group()


def loads(root: Path) -> list[str]:
    """Nothing is loaded from another host: a ward's network may have none."""
    return [
        f"{where}:{line_of(text, found.start())}: points to another host: {found.group()}"
        for where, text in files(root, ".css", ".js", ".html", ".svg")
        for found in ELSEWHERE.finditer(NAMESPACES.sub(lambda name: " " * len(name.group()), text))
    ]


def files(root: Path, *suffixes: str) -> Iterator[tuple[str, str]]:
    """The viewer's own files, comments blanked out; what is copied from npm is not ours to judge."""
    for path in sorted((root / VIEWER).rglob("*")):
        where = path.relative_to(root).as_posix()
        if path.suffix in suffixes and "/vendor/" not in where:
            yield where, COMMENT.sub(blank, path.read_text("utf-8"))


def blank(comment: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", comment.group())


def line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
