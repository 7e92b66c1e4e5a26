"""Which bytes a request asks for (RFC 9110 section 14): one range, or all. Pure."""

from __future__ import annotations

import re

_ONE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Unsatisfiable(Exception):
    """A range that begins behind the end (416)."""


def wanted(header: str, size: int) -> tuple[int, int] | None:
    """(start, stop) of the one range asked for, `stop` excluded; None for all. Several ranges, or words that are no
    range, are answered with all, as the RFC allows. Raises Unsatisfiable."""
    found = _ONE.fullmatch(header.replace(" ", ""))
    if found is None or found.group(0) == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= stop:
        raise Unsatisfiable
    return start, stop
